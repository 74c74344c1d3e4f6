// The options of `sluice failed` that select messages, and the query of the HTTP API that they stand for.
import { Command, Option } from '@commander-js/extra-typings';
import { failedMessagesQuery, MAX_AGE_SECONDS } from '../../contracts/operations.ts';
import { serviceNames } from '../../contracts/services.ts';
import { matching, type OptionsOf, timeUpTo } from '../options.ts';

export const parseAge = timeUpTo(MAX_AGE_SECONDS / 86_400, ['s', 'm', 'h', 'd']);

const { type, error } = failedMessagesQuery.shape;

export const commandWithFilter = (name: string) =>
  new Command(name)
    .addOption(new Option('--service <name...>', 'only messages of these services').choices(serviceNames))
    .option('--type <type>', 'only events of this type', matching(type, 'It must be 1 to 200 characters.'))
    .addOption(new Option('--status <status>', 'only messages with this status').choices(['dead', 'retrying']))
    .option(
      '--error <text>',
      'only errors that contain this text',
      matching(error, 'It must be 1 to 1,000 characters.'),
    )
    .option('--older-than <age>', 'only messages that arrived longer ago, such as 30s, 10m, 2h or 7d', parseAge)
    .option('--newer-than <age>', 'only messages that arrived within this time', parseAge);

/** An age is in milliseconds, in whole seconds. */
type Filter = OptionsOf<() => ReturnType<typeof commandWithFilter>>;

/** Whether the options exclude any message. */
export const isNarrow = ({ service, ...filter }: Filter): boolean =>
  service !== undefined || Object.keys(queryOf(filter)).length > 0;

/** All but the service, which is in the path. */
export function queryOf({ type, status, error, olderThan, newerThan }: Filter): Record<string, string> {
  const seconds = (ms: number | undefined) => ms && ms / 1_000;
  const query = { type, status, error, olderThanSeconds: seconds(olderThan), newerThanSeconds: seconds(newerThan) };
  return Object.fromEntries(
    Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );
}
