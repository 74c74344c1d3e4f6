// `sluice outage`: shows what decoupled services mean. One of them goes away under a flow of orders and comes back; buyers
// do not notice, and nothing is lost.
import { setMaxListeners } from 'node:events';
import { Command, Option } from 'commander';
import { headLine, renderSummary, secondLine } from '../demos/outage/report.ts';
import { runScenario, type Settings, type Show } from '../demos/outage/scenario.ts';
import { startSystem } from '../demos/outage/start-system.ts';
import { type Summary, summarize } from '../demos/outage/summary.ts';
import { svgOf } from '../demos/outage/svg.ts';
import { steps } from '../demos/outage/system.ts';
import { verify } from '../demos/outage/verification.ts';
import { CliError } from '../demos/shared/errors.ts';
import { expectWritable, writeOutput } from '../demos/shared/files.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import type { StepService } from '../demos/shared/metrics.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { note, paint, print, printJson } from '../demos/shared/terminal.ts';
import { jsonOption } from './options.ts';

interface OutageOptions {
  readonly service: StepService;
  readonly rate: number;
  readonly before: number;
  readonly seconds: number;
  readonly timeout: number;
  readonly kill?: true;
  readonly data?: string;
  readonly svg?: string;
  readonly json?: true;
}

const examples = `
Examples:
  $ sluice outage
  $ sluice outage --service notify --rate 200 --seconds 20 --svg outage.svg

The command starts a system of its own and removes it again; no running one is touched. Without settings that is the
embedded system, whose service is stopped inside its process. With DATABASE_URL, MQTT_URL (and AMQP_URL for RabbitMQ)
each service is a process, in a new database and under a new prefix; the user of DATABASE_URL must be allowed to create
databases.

An accepted order waits for a service until the order service has that service's reply. Latencies count from the time at
which an order was due. Exit code 1 if any order did not get a 2xx, if the backlog stays, or if anything is missing in
the end.`;

export const outageCommand = () =>
  new Command('outage')
    .description('stop a service under a steady flow of orders, start it again, and show that only time was lost')
    .addOption(new Option('--service <name>', 'the service to stop').choices(steps).default('points'))
    .option('--rate <n>', 'orders per second', numberBetween(1, 1_000), 100)
    .option('--before <s>', 'seconds with all services, first', numberBetween(1, 60), 5)
    .option('--seconds <s>', 'how long the service is away', numberBetween(1, 300), 10)
    .option('--timeout <s>', 'how long catching up may take', numberBetween(1, 600), 120)
    .option('--kill', 'kill -9 its process instead of stopping it')
    .option('--data <folder>', 'keep the embedded data here (default: a folder that is removed)')
    .option('--svg <file>', 'write the chart to this file')
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action((options: OutageOptions) => untilInterrupted((signal) => outage(options, signal)));

async function outage(options: OutageOptions, signal: AbortSignal): Promise<void> {
  const { json, svg } = options;
  await expectWritable(svg);
  const summary = await demonstrate(options, signal);
  if (json) printJson(summary);
  else for (const line of ['', ...renderSummary(summary)]) print(line);
  if (svg !== undefined) await writeOutput(svg, svgOf(summary));
  if (summary.failures.length > 0) throw new CliError(summary.failures.join('\n'));
}

async function demonstrate(options: OutageOptions, signal: AbortSignal): Promise<Summary> {
  const { service, rate, before, seconds, timeout, kill = false, data } = options;
  const settings: Settings = { service, rate, beforeSeconds: before, awaySeconds: seconds, timeoutSeconds: timeout };
  note('starting a system for this');
  const system = await startSystem({ env: process.env, kill, data, signal });
  try {
    const either = AbortSignal.any([signal, system.broken]);
    setMaxListeners(0, either); // each request under way listens; the requests are bounded, not the listeners
    const show = showOn(settings, options.json === true);
    show.event(`${system.shape}; ${rate} orders per second`);
    const scenario = await runScenario({ system, settings, show, signal: either });
    return summarize(scenario, system, await verify(system, scenario.accepted, either));
  } catch (error) {
    signal.throwIfAborted();
    // A process that ended by itself is the cause of any other error.
    throw system.broken.aborted ? system.broken.reason : error;
  } finally {
    await system.close();
  }
}

/** The display goes to stdout, line by line; to stderr, and only to a terminal, where stdout is for JSON. */
function showOn(settings: Settings, json: boolean): Show {
  const stream = json ? process.stderr : process.stdout;
  if (json && !stream.isTTY) return { event: () => {}, second: () => {} };
  const line = (text: string) => stream.write(`${text}\n`);
  let first = true;
  return {
    event: (text) => line(paint('bold', `── ${text}`, stream)),
    second: (second) => {
      if (first) line(paint('dim', headLine(settings), stream));
      first = false;
      line(secondLine(second, settings, stream));
    },
  };
}
