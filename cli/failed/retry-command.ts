// `sluice failed retry`: one message, or all that match; then waits for what becomes of them.
import { Argument, Option } from '@commander-js/extra-typings';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { CliError, USAGE_EXIT_CODE } from '../../demos/shared/errors.ts';
import { numberBetween } from '../../demos/shared/number-option.ts';
import { count, withProgress } from '../../demos/shared/terminal.ts';
import { jsonOption, type OptionsOf, printResult, tokenOption, urlOption, wrapped } from '../options.ts';
import { type FailedMessages, requestEach } from './client.ts';
import { readData } from './data.ts';
import { commandWithFilter, eventId, hasFilter, queryOf, withClient } from './options.ts';
import { renderRetries } from './render.ts';
import { RetryRun } from './retry.ts';

const MAX_RATE = 10_000;

const help = `
Examples:
  $ sluice failed retry points 019a2b3c-4d5e-7f60-8123-456789abcdef
  $ sluice failed retry points 019a2b3c-… --data corrected.json
  $ sluice failed retry --service points --older-than 10m --dry-run
  $ sluice failed retry --all --rate 500

Service by service, oldest first. Each message that arrived before the run began is retried once, with a fresh set of
attempts. Then the command waits until each has succeeded or is dead again. Ctrl-C ends it and prints how far it is;
what has been retried stays so.

--data takes the event's data (the field data of the payload) as JSON, from a file or, with -, from standard input. Ids
and users cannot change. The original is kept.

Exit code 1 if messages failed again, if some are left because they are being handled, or if the message with the given
id cannot be retried. Messages over 64 KiB cannot be retried; without an id, they are counted and do not change the exit
code. Discarded messages are retried only by their id.`;

const retryOptions = () =>
  commandWithFilter('retry')
    .description('retry failed messages with fresh attempts: one message, or all that match')
    .addArgument(new Argument('[service]', 'for one message: service that received it').choices(serviceNames))
    .argument('[id]', "for one message: the event's id", eventId)
    .addOption(new Option('--status <status>', 'only messages with this status').choices(['dead', 'retrying']))
    .option('--all', 'retry all failed messages; required without a filter')
    .option('--data <file>', 'for one dead message: handle it with this data instead; - reads standard input')
    .option('--dry-run', 'print how many messages match, and change nothing')
    .option('--rate <n>', 'maximum number of messages per second', numberBetween(1, MAX_RATE), 50)
    .option('--no-wait', 'end when the messages are retried, before they have an outcome')
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));
type RetryOptions = OptionsOf<typeof retryOptions>;

export const retryCommand = () =>
  retryOptions().action((service, id, options, command) => {
    if (service === undefined) {
      if (options.data !== undefined) return command.error('error: --data is for one message: name its service and id');
      return withClient(options, (messages, signal) => retryMatching(messages, options, signal));
    }
    if (id === undefined)
      return command.error(
        "error: missing argument 'id' of the message; to retry all messages of a service, use --service",
      );
    if (hasFilter(options) || options.all)
      return command.error('error: filters and --all cannot be combined with an id');
    if (options.dryRun && options.data !== undefined)
      return command.error('error: --dry-run cannot be combined with --data, which only the service can check');
    return withClient(options, (messages, signal) => retryOne(messages, { service, id, options }, signal));
  });

async function retryOne(
  messages: FailedMessages,
  { service, id, options }: { service: ServiceName; id: string; options: RetryOptions },
  signal: AbortSignal,
): Promise<void> {
  const { dryRun = false, json, data, wait } = options;
  const about = `${service} ${id}`;
  const corrected = data === undefined ? undefined : await readData(data, signal);
  if (dryRun) {
    const { truncated, payloadBytes, status } = await messages.find(service, id);
    if (status === 'done') throw new CliError(`${about} cannot be retried: it is done`);
    if (truncated)
      throw new CliError(
        `${about} cannot be retried: only the first 64 KiB of its ${count(payloadBytes)} bytes are stored`,
      );
    return printResult(json, { dryRun, service, id, retried: 0 }, () => [`${about}: would be retried`]);
  }
  const run = RetryRun.ofOne(service);
  await messages.retryOne(service, id, { run: run.id, data: corrected });
  try {
    if (wait) await withProgress('waiting', 1, (update) => run.awaitOutcomes(messages, { signal, onProgress: update }));
  } finally {
    const { succeeded, failed } = run.totals;
    const outcome = succeeded > 0 ? ', and succeeded' : failed > 0 ? ', and failed again' : '';
    printResult(json, { dryRun, service, id, retried: 1, succeeded, failed }, () => [`${about}: retried${outcome}`]);
  }
  if (run.totals.failed === 0) return;
  const { error } = await messages.find(service, id);
  throw new CliError(`${about} failed again: ${error ?? 'without an error'}`);
}

async function retryMatching(messages: FailedMessages, options: RetryOptions, signal: AbortSignal): Promise<void> {
  const { rate, service: named, url, all, dryRun = false, json, wait } = options;
  if (!hasFilter(options) && !all && !dryRun)
    throw new CliError('nothing was retried: to retry all failed messages without a filter, add --all', {
      exitCode: USAGE_EXIT_CODE,
    });
  const query = queryOf(options);
  const run = new RetryRun(await requestEach(named, url, (service) => messages.preview(service, query)));
  try {
    if (!dryRun) {
      await withProgress('retrying', run.totals.matching, (update) =>
        run.retryAll(messages, query, { rate, signal, onProgress: update }),
      );
      if (wait)
        await withProgress('waiting', run.totals.retried, (update) =>
          run.awaitOutcomes(messages, { signal, onProgress: update }),
        );
    }
  } finally {
    const { services, truncated, totals } = run;
    printResult(json, { dryRun, ...totals, truncated, services }, () => renderRetries(run, { dryRun, waited: wait }));
  }
  if (!dryRun) expectAllDone(run);
}

function expectAllDone({ totals: { left, failed } }: RetryRun): void {
  const problems = [
    ...(failed > 0 ? [`${messagesAre(failed, 'failed again', 'failed again')}: see \`sluice failed groups\``] : []),
    ...(left > 0
      ? [
          `${messagesAre(left, 'is being handled', 'are being handled')}; run the command again to retry ${left === 1 ? 'it' : 'them'}`,
        ]
      : []),
  ];
  if (problems.length > 0) throw new CliError(problems.join('; '));
}

const messagesAre = (number: number, one: string, many: string) =>
  number === 1 ? `1 message ${one}` : `${count(number)} messages ${many}`;
