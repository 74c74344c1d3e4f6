// The options of `sluice failed` that select messages, and the query of the HTTP API that they stand for.
import { type Command, Option } from 'commander';
import { failedMessagesQuery, MAX_AGE_SECONDS } from '../../contracts/operations.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { matching, timeUpTo } from '../options.ts';

export interface FilterOptions {
  readonly service?: readonly ServiceName[];
  readonly type?: string;
  readonly status?: 'dead' | 'retrying';
  readonly error?: string;
  /** Milliseconds, in whole seconds. */
  readonly olderThan?: number;
  readonly newerThan?: number;
}

export const parseAge = timeUpTo(MAX_AGE_SECONDS / 86_400, ['s', 'm', 'h', 'd']);

export const withFilter = (command: Command): Command =>
  command
    .addOption(new Option('--service <name...>', 'only of these services (default: all)').choices(serviceNames))
    .option(
      '--type <type>',
      'only of this event type',
      matching(failedMessagesQuery.shape.type, 'It must be 1 to 200 characters.'),
    )
    .addOption(new Option('--status <status>', 'only with this status (default: both)').choices(['dead', 'retrying']))
    .option(
      '--error <text>',
      'only if the error contains this text',
      matching(failedMessagesQuery.shape.error, 'It must be 1 to 1,000 characters.'),
    )
    .option('--older-than <age>', 'only if received longer ago than this: 30s, 10m, 2h, 7d', parseAge)
    .option('--newer-than <age>', 'only if received within this time', parseAge);

/** Whether the options exclude any message. */
export const isNarrow = ({ service, type, status, error, olderThan, newerThan }: FilterOptions): boolean =>
  [service, type, status, error, olderThan, newerThan].some((option) => option !== undefined);

/** All but the service, which is in the path. */
export function queryOf({ type, status, error, olderThan, newerThan }: FilterOptions): Record<string, string> {
  const seconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1_000);
  const query = { type, status, error, olderThanSeconds: seconds(olderThan), newerThanSeconds: seconds(newerThan) };
  return Object.fromEntries(
    Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );
}
