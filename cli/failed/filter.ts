// Which failed messages: the options that `sluice failed` takes, and the same as a query of the HTTP API.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { failedMessagesQuery, MAX_AGE_SECONDS } from '../../contracts/operations.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';

export interface FilterOptions {
  readonly service?: readonly ServiceName[];
  readonly type?: string;
  readonly status?: 'dead' | 'retrying';
  readonly error?: string;
  /** Seconds. */
  readonly olderThan?: number;
  readonly newerThan?: number;
}

const SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** `30s`, `10m`, `2h`, `7d` in seconds. */
export function parseAge(given: string): number {
  const [, digits = '', unit] = /^(\d{1,9})([smhd])$/.exec(given) ?? [];
  const seconds = unit === undefined ? Number.NaN : Number(digits) * SECONDS[unit as keyof typeof SECONDS];
  if (seconds <= MAX_AGE_SECONDS) return seconds;
  throw new InvalidArgumentError(
    `It must be a number and a unit, such as 30s, 10m, 2h or 7d, at most ${MAX_AGE_SECONDS / SECONDS.d}d.`,
  );
}

function matching(name: 'type' | 'error') {
  const schema = failedMessagesQuery.shape[name];
  return (given: string): string => {
    const parsed = schema.safeParse(given);
    if (parsed.success) return given;
    throw new InvalidArgumentError(`${parsed.error.issues[0]?.message}.`);
  };
}

export const withFilter = (command: Command): Command =>
  command
    .addOption(new Option('--service <name...>', 'of these services (default: of all)').choices(serviceNames))
    .option('--type <type>', 'of this event type', matching('type'))
    .addOption(new Option('--status <status>', 'only these (default: both)').choices(['dead', 'retrying']))
    .option('--error <text>', 'whose error contains this, literally', matching('error'))
    .option('--older-than <age>', 'received longer ago than this: 30s, 10m, 2h, 7d', parseAge)
    .option('--newer-than <age>', 'received within this', parseAge);

/** Whether anything narrows down what is meant. */
export const isNarrow = ({ service, type, status, error, olderThan, newerThan }: FilterOptions): boolean =>
  [service, type, status, error, olderThan, newerThan].some((option) => option !== undefined);

/** Apart from the service, which is in the path. */
export function queryOf({ type, status, error, olderThan, newerThan }: FilterOptions): Record<string, string> {
  const query = { type, status, error, olderThanSeconds: olderThan, newerThanSeconds: newerThan };
  return Object.fromEntries(
    Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );
}
