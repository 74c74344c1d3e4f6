// The text below a command's options: examples and paragraphs, wrapped like the rest of the help.
import type { CommandUnknownOpts, Help } from '@commander-js/extra-typings';

/** Help as wide as the terminal, or 80 columns. */
export function helpOf(command: CommandUnknownOpts): Help & { readonly helpWidth: number } {
  const helpWidth = command.configureOutput().getOutHelpWidth?.() ?? 80;
  return Object.assign(command.createHelp(), { helpWidth });
}

/** For `addHelpText`. A paragraph with indented lines, such as examples, stays as it is. */
export const wrapped =
  (text: string) =>
  ({ command }: { command: CommandUnknownOpts }): string => {
    const help = helpOf(command);
    return text
      .trimEnd()
      .split('\n\n')
      .map((paragraph) =>
        help.preformatted(`\n${paragraph}`) ? paragraph : help.boxWrap(paragraph.replaceAll('\n', ' '), help.helpWidth),
      )
      .join('\n\n');
  };
