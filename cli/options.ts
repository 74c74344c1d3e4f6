// Options that several commands share, and the parsers that name what is allowed.
import { InvalidArgumentError, Option } from 'commander';
import { currency } from '../contracts/money.ts';
import { userId } from '../contracts/text.ts';

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

/** For an option whose values a contract's schema describes. */
function matching(schema: typeof currency | typeof userId) {
  return (given: string): string => {
    const parsed = schema.safeParse(given);
    if (!parsed.success) throw new InvalidArgumentError(`It ${parsed.error.issues[0]?.message}.`);
    return parsed.data;
  };
}

export const urlOption = () =>
  new Option('--url <url>', 'where Sluice answers')
    .env('SLUICE_URL')
    .default('http://127.0.0.1:3000')
    .argParser(urlOf('http', 'https'));

export const jsonOption = () => new Option('--json', 'print one JSON document for programs');

export const currencyOption = () =>
  new Option('--currency <code>', 'ISO 4217 code').default('GBP').argParser(matching(currency));

export const userOption = () =>
  new Option('--user <id>', 'whose order it is').default('guest').argParser(matching(userId));
