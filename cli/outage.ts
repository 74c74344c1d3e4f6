// `sluice outage`: shows that the services are decoupled. One of them stops during a steady flow of orders and starts
// again; clients notice nothing, and no order is lost.
import { setMaxListeners } from 'node:events';
import { Command, Option } from '@commander-js/extra-typings';
import { headLine, renderSummary, secondLine, svgOf } from '../demos/outage/report.ts';
import { type Display, runScenario, type Settings } from '../demos/outage/scenario.ts';
import { type Summary, summarize, verify } from '../demos/outage/summary.ts';
import { startSystem } from '../demos/outage/system.ts';
import { CliError } from '../demos/shared/errors.ts';
import { expectWritable, writeOutput } from '../demos/shared/files.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { steps } from '../demos/shared/metrics.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { note, paint } from '../demos/shared/terminal.ts';
import { jsonOption, type OptionsOf, printResult, wrapped } from './options.ts';

const help = `
Examples:
  $ sluice outage
  $ sluice outage --service notify --rate 200 --seconds 20 --svg outage.svg

The command starts a system of its own, and removes it at the end; it does not touch a running system. By default
this is the embedded system, and the service is stopped inside its process. With DATABASE_URL and MQTT_URL (and AMQP_URL
for RabbitMQ), the services run in four processes (order and flash-sale share one), with a new database and a new
prefix; the user of DATABASE_URL must be allowed to create databases.

"Waiting for <service>" counts accepted orders to which that service has not yet replied. Response times count from
the moment at which the order was due to be sent.

Exit code 1 if any order did not get a 2xx, if the backlog does not drain in time, or if an effect is missing.`;

const command = () =>
  new Command('outage')
    .description('stop a service during a steady flow of orders, start it again, and show that no order is lost')
    .addOption(new Option('--service <name>', 'service to stop').choices(steps).default('points'))
    .option('--rate <n>', 'orders per second', numberBetween(1, 1_000), 100)
    .option('--before <s>', 'seconds with all services before the outage', numberBetween(1, 60), 5)
    .option('--seconds <s>', 'seconds without the service', numberBetween(1, 300), 10)
    .option('--timeout <s>', 'how long the backlog may take to drain, in seconds', numberBetween(1, 600), 120)
    .option('--kill', 'kill its process with SIGKILL instead of stopping it; needs DATABASE_URL and MQTT_URL')
    .option('--data <folder>', 'keep the embedded data in this folder (default: a temporary one)')
    .option('--svg <file>', 'write the chart to this SVG file')
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));
type OutageOptions = OptionsOf<typeof command>;

export const outageCommand = () => command().action((options) => untilInterrupted((signal) => outage(options, signal)));

async function outage(options: OutageOptions, signal: AbortSignal): Promise<void> {
  const { json, svg } = options;
  await expectWritable(svg);
  const summary = await demonstrate(options, signal);
  printResult(json, summary, () => ['', ...renderSummary(summary)]);
  if (svg !== undefined) await writeOutput(svg, svgOf(summary));
  if (summary.failures.length > 0) throw new CliError(summary.failures.join('\n'));
}

async function demonstrate(options: OutageOptions, signal: AbortSignal): Promise<Summary> {
  const { service, rate, before, seconds, timeout, kill = false, data } = options;
  const settings: Settings = { service, rate, beforeSeconds: before, awaySeconds: seconds, timeoutSeconds: timeout };
  note('starting a system for this command');
  const system = await startSystem({ env: process.env, kill, data, signal });
  try {
    const either = AbortSignal.any([signal, system.broken]);
    setMaxListeners(0, either); // each request under way has a listener, and the number of requests is bounded
    const show = showOn(settings, options.json === true);
    show.event(`${system.shape}; ${rate} orders per second`);
    const scenario = await runScenario({ system, settings, show, signal: either });
    return summarize(scenario, system, await verify(system, scenario.accepted, either));
  } catch (error) {
    signal.throwIfAborted();
    // A broken system is the cause of any other error.
    throw system.broken.aborted ? system.broken.reason : error;
  } finally {
    await system.close();
  }
}

/** Prints the progress to stdout, or with --json to stderr if that is a terminal. */
function showOn(settings: Settings, json: boolean): Display {
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
