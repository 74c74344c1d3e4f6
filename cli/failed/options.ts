// Options and arguments that several commands of `sluice failed` share.
import { Argument, Command, Option } from '@commander-js/extra-typings';
import { failedMessagesQuery, MAX_AGE_SECONDS } from '../../contracts/operations.ts';
import { serviceNames } from '../../contracts/services.ts';
import { uuid } from '../../contracts/text.ts';
import { COUNTING_TIMEOUT_MS, HttpClient } from '../../demos/shared/http.ts';
import { untilInterrupted } from '../../demos/shared/interrupt.ts';
import { matching, type OptionsOf, timeUpTo } from '../options.ts';
import { FailedMessages } from './client.ts';

/** Items that one list prints. */
export const MAX_LISTED = 1_000;

export const parseAge = timeUpTo(MAX_AGE_SECONDS / 86_400, ['s', 'm', 'h', 'd']);

export const eventId = matching(uuid, 'It must be a UUID from `sluice failed list`.');

export const serviceArgument = (about: string) => new Argument('<service>', about).choices(serviceNames);

export const serviceOption = (about: string) => new Option('--service <name...>', about).choices(serviceNames);

const { type, error, group } = failedMessagesQuery.shape;

export const commandWithFilter = (name: string) =>
  new Command(name)
    .addOption(serviceOption('only messages of these services'))
    .option('--type <type>', 'only events of this type', matching(type, 'It must be 1 to 200 characters.'))
    .option(
      '--error <text>',
      'only errors that contain this text',
      matching(error, 'It must be 1 to 1,000 characters.'),
    )
    .option(
      '--group <id>',
      'only messages of this group',
      matching(group, 'It must be a UUID from `sluice failed groups`.'),
    )
    .option('--older-than <age>', 'only messages that arrived longer ago, such as 30s, 10m, 2h or 7d', parseAge)
    .option('--newer-than <age>', 'only messages that arrived within this time', parseAge);

/** An age is in milliseconds, always a whole number of seconds. */
type Filter<Status> = OptionsOf<typeof commandWithFilter> & { readonly status?: Status | undefined };

/** Whether the options exclude any message. */
export const hasFilter = ({ service, ...filter }: Filter<unknown>): boolean =>
  [service, ...Object.values(queryOf(filter))].some((value) => value !== undefined);

/** All but the service, which is in the path. */
export function queryOf<Status = undefined>({ type, status, error, group, olderThan, newerThan }: Filter<Status>) {
  const seconds = (ms: number | undefined) => ms && ms / 1_000;
  const ages = { olderThanSeconds: seconds(olderThan), newerThanSeconds: seconds(newerThan) };
  return { type, status, error, group, ...ages };
}

export const withClient = (
  { url }: { readonly url: string },
  work: (messages: FailedMessages, signal: AbortSignal) => Promise<void>,
): Promise<void> =>
  untilInterrupted(async (signal) => {
    const http = new HttpClient(url, 1, COUNTING_TIMEOUT_MS);
    try {
      await work(new FailedMessages(http, signal), signal);
    } finally {
      await http.close();
    }
  });
