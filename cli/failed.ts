// `sluice failed`: lists, shows and retries messages that a service could not handle.
import { Argument, Command, Option } from '@commander-js/extra-typings';
import { failedMessagesQuery, MAX_AGE_SECONDS } from '../contracts/operations.ts';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { uuid } from '../contracts/text.ts';
import { CliError, USAGE_EXIT_CODE } from '../demos/shared/errors.ts';
import { COUNTING_TIMEOUT_MS, HttpClient } from '../demos/shared/http.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { count, withProgress } from '../demos/shared/terminal.ts';
import { FailedMessages, requestEach } from './failed/client.ts';
import { newestFirst, renderList, renderMessage, renderRetries } from './failed/render.ts';
import { RetryRun } from './failed/retry.ts';
import { jsonOption, matching, type OptionsOf, printResult, timeUpTo, urlOption, wrapped } from './options.ts';

const MAX_LISTED = 1_000;
const MAX_RATE = 10_000;

const eventId = matching(uuid, 'It must be a UUID from `sluice failed list`.');

const help = `
Examples:
  $ sluice failed list
  $ sluice failed show points 019a2b3c-…
  $ sluice failed retry --service points --error 'connection refused'

A message that fails is retried with growing delays (status 'retrying'). After the last attempt it is 'dead' and kept.
Fix the cause, then retry the message: it is handled as if it had just arrived.`;

const listHelp = `
Examples:
  $ sluice failed list --status dead --newer-than 1h
  $ sluice failed list --service points --service coupon --error 'out of range'
  $ sluice failed list --json | jq -r '.items[] | [.service, .id] | @tsv'

Newest first. An age counts from the arrival of a message, by the database's clock.`;

const showHelp = `
Example:
  $ sluice failed show points 019a2b3c-4d5e-7f60-8123-456789abcdef`;

const retryHelp = `
Examples:
  $ sluice failed retry points 019a2b3c-4d5e-7f60-8123-456789abcdef
  $ sluice failed retry --service points --older-than 10m --dry-run
  $ sluice failed retry --all --rate 500

Service by service, oldest first. Each message that failed before the run began is retried once, with a fresh set of
attempts. If it fails again, it is listed again. Ctrl-C ends the run between two requests and prints how many messages
are left.

Exit code 1 if messages are left because they are being handled, or if the message with the given id cannot be retried.
Messages over 64 KiB cannot be retried; without an id, they are counted and do not change the exit code.`;

export const failedCommand = () =>
  new Command('failed')
    .description('list, show and retry messages that a service could not handle')
    .addHelpText('after', wrapped(help))
    .addCommand(listCommand().action((options) => withClient(options, (messages) => list(messages, options))))
    .addCommand(
      showCommand().action((service, id, options) =>
        withClient(options, (messages) => show(messages, service, id, options)),
      ),
    )
    .addCommand(
      retryCommand().action((service, id, options, command) => {
        if (service === undefined)
          return withClient(options, (messages, signal) => retryMatching(messages, options, signal));
        if (id === undefined)
          return command.error(
            "error: missing argument 'id' of the message; to retry all messages of a service, use --service",
          );
        if (hasFilter(options) || options.all)
          return command.error('error: filters and --all cannot be combined with an id');
        return withClient(options, (messages) => retryOne(messages, service, id, options));
      }),
    );

export const parseAge = timeUpTo(MAX_AGE_SECONDS / 86_400, ['s', 'm', 'h', 'd']);

const { type, error } = failedMessagesQuery.shape;

const commandWithFilter = (name: string) =>
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

/** An age is in milliseconds, always a whole number of seconds. */
type Filter = OptionsOf<typeof commandWithFilter>;

/** Whether the options exclude any message. */
export const hasFilter = ({ service, ...filter }: Filter): boolean =>
  service !== undefined || Object.keys(queryOf(filter)).length > 0;

/** All but the service, which is in the path. */
export function queryOf({ type, status, error, olderThan, newerThan }: Filter): Record<string, string> {
  const seconds = (ms: number | undefined) => ms && ms / 1_000;
  const query = { type, status, error, olderThanSeconds: seconds(olderThan), newerThanSeconds: seconds(newerThan) };
  return Object.fromEntries(
    Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );
}

const listCommand = () =>
  commandWithFilter('list')
    .description('list failed messages, newest first')
    .option('--limit <n>', 'maximum number of messages', numberBetween(1, MAX_LISTED), 50)
    .addOption(urlOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(listHelp));

const showCommand = () =>
  new Command('show')
    .description('show one failed message with its error and payload')
    .addArgument(new Argument('<service>', 'service that received it').choices(serviceNames))
    .argument('<id>', "the event's id", eventId)
    .addOption(urlOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(showHelp));

const retryCommand = () =>
  commandWithFilter('retry')
    .description('retry failed messages with fresh attempts: one message, or all that match')
    .addArgument(new Argument('[service]', 'for one message: service that received it').choices(serviceNames))
    .argument('[id]', "for one message: the event's id", eventId)
    .option('--all', 'retry all failed messages; required without a filter')
    .option('--dry-run', 'print how many messages match, and change nothing')
    .option('--rate <n>', 'maximum number of messages per second', numberBetween(1, MAX_RATE), 50)
    .addOption(urlOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(retryHelp));
type RetryOptions = OptionsOf<typeof retryCommand>;

const withClient = (
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

async function list(messages: FailedMessages, options: OptionsOf<typeof listCommand>): Promise<void> {
  const { limit, service: named, url, json } = options;
  const pages = await requestEach(named, url, (service) => messages.list(service, queryOf(options), limit));
  const found = newestFirst([...pages.values()].flatMap(({ items }) => items));
  const items = found.slice(0, limit);
  const more = found.length > limit || [...pages.values()].some((page) => page.more);
  printResult(json, { services: [...pages.keys()], items, more }, () => renderList(items, more));
}

async function show(messages: FailedMessages, service: ServiceName, id: string, { json }: { json?: true }) {
  const message = await messages.find(service, id);
  printResult(json, { service, ...message }, () => renderMessage(service, message));
}

async function retryOne(messages: FailedMessages, service: ServiceName, id: string, options: RetryOptions) {
  const { dryRun = false, json } = options;
  if (dryRun) {
    const { truncated, payloadBytes } = await messages.find(service, id);
    if (truncated)
      throw new CliError(
        `${service} ${id} cannot be retried: only the first 64 KiB of its ${count(payloadBytes)} bytes are stored`,
      );
  } else await messages.retryOne(service, id);
  printResult(json, { dryRun, service, id, retried: dryRun ? 0 : 1 }, () => [
    `${service} ${id}: ${dryRun ? 'would be retried' : 'retried'}`,
  ]);
}

async function retryMatching(messages: FailedMessages, options: RetryOptions, signal: AbortSignal): Promise<void> {
  const { rate, service: named, url, all, dryRun = false, json } = options;
  if (!hasFilter(options) && !all && !dryRun)
    throw new CliError('nothing was retried: to retry all failed messages without a filter, add --all', {
      exitCode: USAGE_EXIT_CODE,
    });
  const query = queryOf(options);
  const run = new RetryRun(await requestEach(named, url, (service) => messages.preview(service, query)));
  try {
    if (!dryRun)
      await withProgress('retrying', run.totals.matching, (update) =>
        run.retryAll(messages, query, { rate, signal, onProgress: () => update(run.totals.retried) }),
      );
  } finally {
    const { services, truncated, totals } = run;
    const { matching, retried, left } = totals;
    printResult(json, { dryRun, matching, truncated, retried, left, services }, () => renderRetries(run, dryRun));
  }
  const { left } = run.totals;
  if (dryRun || left === 0) return;
  const beingHandled = left === 1 ? '1 message is being handled' : `${count(left)} messages are being handled`;
  throw new CliError(`${beingHandled}; run the command again to retry ${left === 1 ? 'it' : 'them'}`);
}
