// Helpers of several commands: options, parsers whose errors name the allowed values, help and output.
import { type CommandUnknownOpts, type Help, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import type { z } from 'zod';
import { currency } from '../contracts/money.ts';
import { print, printJson } from '../demos/shared/terminal.ts';

/** The options of a command, as its action gets them. */
export type OptionsOf<C extends (...args: never[]) => { opts(): unknown }> = ReturnType<ReturnType<C>['opts']>;

/** For an option that takes a URL of one of these protocols. */
export function urlOf(...protocols: readonly string[]) {
  return (given: string): string => {
    if (!URL.canParse(given) || !protocols.includes(new URL(given).protocol.slice(0, -1)))
      throw new InvalidArgumentError(
        `It must be a URL that starts with ${protocols.map((p) => `${p}://`).join(' or ')}.`,
      );
    return given;
  };
}

/** For an option whose values a schema describes. `otherwise` replaces the schema's own error. */
export function matching(schema: z.ZodType<string | undefined>, otherwise?: string) {
  return (given: string): string => {
    const { success, data, error } = schema.safeParse(given);
    if (success && data !== undefined) return data;
    const message = error?.issues[0]?.message ?? '';
    throw new InvalidArgumentError(otherwise ?? (message.startsWith('must') ? `It ${message}.` : `${message}.`));
  };
}

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** For an option that takes a time in one of these units, up to `max` of the last one. Milliseconds. */
export function timeUpTo(max: number, units: readonly (keyof typeof UNIT_MS)[]) {
  const last = units.at(-1) ?? 'ms';
  return (given: string): number => {
    const [, digits, givenUnit] = /^(\d{1,9})([a-z]+)$/.exec(given) ?? [];
    const unit = units.find((name) => name === givenUnit);
    const ms = unit === undefined ? Number.NaN : Number(digits) * UNIT_MS[unit];
    if (ms <= max * UNIT_MS[last]) return ms;
    throw new InvalidArgumentError(
      `It must be an integer and a unit (${units.join(', ')}), such as 30s or 5m, up to ${max}${last}.`,
    );
  };
}

export const urlOption = () =>
  new Option('--url <url>', 'URL of the Sluice server')
    .env('SLUICE_URL')
    .default('http://127.0.0.1:3000')
    .argParser(urlOf('http', 'https'));

export const jsonOption = () => new Option('--json', 'print one JSON document for programs');

export const currencyOption = () =>
  new Option('--currency <code>', 'ISO 4217 code').default('GBP').argParser(matching(currency));

/** Prints a result as one JSON document, or as text. */
export function printResult<T>(json: true | undefined, result: T, render: (result: T) => readonly string[]): void {
  if (json) printJson(result);
  else for (const line of render(result)) print(line);
}

/** Help as wide as the terminal, or 80 columns. */
export function helpOf(command: CommandUnknownOpts): Help & { readonly helpWidth: number } {
  const helpWidth = command.configureOutput().getOutHelpWidth?.() ?? 80;
  return Object.assign(command.createHelp(), { helpWidth });
}

/**
 * For `addHelpText`: examples and paragraphs, wrapped like the rest of the help. A paragraph
 * with indented lines, such as examples, stays as it is.
 */
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
