// The documents about the settings, generated from their descriptions in the code. `npm run docs` writes them.
import { groupBy } from '../infra/runtime/group-by.ts';
import { describeVariables, renamedVariables } from './config.ts';

/** The contents of the generated files, by path below the project's root. */
export const configurationDocs = (): Readonly<Record<string, string>> => ({
  '.env.example': envExample(),
  'docs/configuration.md': configurationPage(),
});

function envExample(): string {
  const head = `# Every setting with its default, written by \`npm run docs\`. \`sluice start\` reads a file named .env in the folder in
# which it starts; variables of the environment take precedence. An unset or empty variable has its default.
`;
  const variables = describeVariables().map(
    ({ name, about, allowed, fallback = '' }) => `# ${about}\n# Allowed: ${allowed}.\n#${name}=${fallback}\n`,
  );
  return [head, ...variables].join('\n');
}

function configurationPage(): string {
  const sections = Array.from(
    groupBy(describeVariables(), ({ group }) => group),
    ([title, variables]) => {
      const rows = variables.map(({ name, fallback, about, allowed }) =>
        row(code(name), fallback === undefined ? '' : code(fallback), about, allowed),
      );
      return section(title, ['variable', 'default', 'meaning', 'allowed'], rows);
    },
  );
  const renamed = Object.entries(renamedVariables).map(([former, current]) => row(code(former), code(current)));
  return `# Configuration

<!-- Written by \`npm run docs\` from the settings in the code. Do not edit. -->

Every setting is an environment variable. \`sluice start\` also reads a file named \`.env\` in the folder in which it
starts; variables of the environment take precedence. An unset or empty variable has its default. A value that is not
allowed stops the start with an error that names the variable and says what is allowed.

${sections.join('\n')}
${section('Renamed variables', ['former name', 'name'], renamed)}
The start fails if a former name is set.
`;
}

const section = (title: string, columns: readonly string[], rows: readonly string[]): string =>
  [`## ${title}`, '', row(...columns), row(...columns.map(() => '---')), ...rows, ''].join('\n');

const row = (...cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;

const code = (text: string) => `\`${text}\``;
