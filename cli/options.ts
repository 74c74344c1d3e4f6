// Helpers of several commands: options, parsers whose errors name the allowed values, help and output.
import { type CommandUnknownOpts, type Help, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import type { z } from 'zod';
import { currency } from '../contracts/money.ts';
import { useToken } from '../demos/shared/credentials.ts';
import { print, printJson } from '../demos/shared/terminal.ts';
import { JWT } from '../infra/access/token-rules.ts';
import { parseHttpUrl } from '../infra/http/url.ts';
import { parseMqttUrls } from '../infra/mqtt/url.ts';
import { UrlError } from '../infra/runtime/server-url.ts';

/** The options of a command, as its action gets them. */
export type OptionsOf<C extends (...args: never[]) => { opts(): unknown }> = ReturnType<ReturnType<C>['opts']>;

const urlParser =
  (parse: (given: string) => unknown, example: string) =>
  (given: string): string => {
    try {
      parse(given);
    } catch (error) {
      if (!(error instanceof UrlError)) throw error;
      throw new InvalidArgumentError(sentence(error.message || `it must be a URL that starts with ${example}`));
    }
    return given;
  };

const sentence = (text: string) => `${text[0]?.toUpperCase()}${text.slice(1)}.`;

/** For an option that takes the URL of an HTTP server. The processes of a machine see the arguments of all others. */
export const httpUrl = urlParser((given) => {
  if (parseHttpUrl(given).authorization === undefined) return;
  throw new UrlError('it must not contain a user or password: set SLUICE_URL to the whole URL instead of this option');
}, 'http:// or https://');

/** For an option that takes the URL of an MQTT broker. */
export const mqttUrl = urlParser(parseMqttUrls, 'mqtt://, mqtts://, ws:// or wss://');

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
    .argParser(httpUrl);

/** The processes of a machine see the arguments of all others, so help names the variable first. */
export const tokenOption = () =>
  new Option('--token <token>', 'token for the server; better in SLUICE_TOKEN, because others see arguments').argParser(
    (given) => {
      if (!JWT.test(given)) throw new InvalidArgumentError('It must be a token, such as `sluice token` prints.');
      useToken(given);
      return given;
    },
  );

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
