// The worker role of the embedded system, in a thread of its own together with the database and all relays. The main
// thread (worker.ts) starts it, calls its functions, and stops it.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { Logger } from 'pino';
import { type ServiceName, SUBJECT_NAME } from '../contracts/services.ts';
import { statementFunctions } from '../infra/database/remote.ts';
import type { Channel, OutboxRow } from '../infra/messaging/outbox.ts';
import { connectThrough, RemotePublisher } from '../infra/mqtt/remote.ts';
import { sendConsoleTo } from '../infra/observability/console.ts';
import { createLog } from '../infra/observability/log.ts';
import { Metrics } from '../infra/observability/metrics.ts';
import { Shutdown } from '../infra/runtime/shutdown.ts';
import { StartupError } from '../infra/runtime/startup-error.ts';
import { ThreadCalls } from '../infra/runtime/thread-calls.ts';
import { degradedLoops } from './admin/operations.ts';
import { type Broker, externalBroker, openResources, type Resources } from './resources.ts';
import type { WorkerReadiness } from './service-runner.ts';
import { type StartedServices, startServices } from './start-services.ts';
import { errorClasses, type MainFunctions, type WorkerData } from './worker-protocol.ts';

/** The functions of this thread that the main thread calls. */
export type WorkerFunctions = ReturnType<typeof lifecycleFunctions> &
  ReturnType<typeof statementFunctions> &
  ReturnType<typeof serviceFunctions>;

const { config, services, connections } = workerData as WorkerData;

/** Log lines that wait for the main thread; further ones are dropped, so that a service is never slowed down. */
const MAX_WAITING_LINES = 20_000;

/** The log of this thread. Lines that are written one right after another cross to the main thread in one message. */
class LogLines {
  #lines: string[] = [];
  #waiting = 0;

  write(line: string): void {
    if (this.#waiting >= MAX_WAITING_LINES) return;
    this.#waiting++;
    if (this.#lines.push(line) > 1) return;
    queueMicrotask(() => {
      const lines = this.#lines;
      this.#lines = [];
      const written = main.call('log', lines).catch(() => undefined);
      void written.then(() => {
        this.#waiting -= lines.length;
      });
    });
  }
}

/** The broker at MQTT_URL, or that of the main thread. */
function openBroker(log: Logger): Broker {
  if (config.MQTT_URL) return externalBroker(config.MQTT_URL, config, log);
  const publisher = new RemotePublisher(main);
  return { publisher, connect: connectThrough(connections), close: () => publisher.close() };
}

function lifecycleFunctions() {
  const destination = new LogLines();
  const log = createLog({ level: config.LOG_LEVEL, pretty: false, subjectName: SUBJECT_NAME, destination });
  sendConsoleTo(log);
  const metrics = new Metrics({ process: false });
  const shutdown = new Shutdown(log);
  const aborted = new AbortController();
  return {
    /** Resolves when the services run. */
    async start(): Promise<{ paymentUrl: string | undefined }> {
      try {
        const resources = await openResources(config, log, { broker: openBroker(log) });
        shutdown.add(() => resources.close());
        shutdown.onBegin(() => resources.interrupt());
        const { database } = resources;
        aborted.signal.addEventListener('abort', () => resources.interrupt());
        Object.assign(functions, statementFunctions(database));
        const options = { config, services, roles: ['worker'] as const, resources, metrics, log, shutdown };
        const started = await startServices({ ...options, signal: aborted.signal });
        Object.assign(functions, serviceFunctions(started, resources, metrics));
        return { paymentUrl: resources.paymentUrl };
      } catch (error) {
        await shutdown.run();
        throw error;
      }
    },
    /** Cancels the start. */
    abort: () => aborted.abort(new StartupError('the start was cancelled')),
    interrupt: () => shutdown.interrupt(),
    stop: () => shutdown.run(),
  };
}

/** Once the services run. */
function serviceFunctions({ runners, bus, stoppable }: StartedServices, resources: Resources, metrics: Metrics) {
  const runner = (name: ServiceName) => runners.find((each) => each.name === name);
  return {
    enqueueFromThread: (name: ServiceName, channel: Channel, rows: readonly OutboxRow[]) =>
      runner(name)?.enqueueFromThread(channel, rows) ?? 0,
    wakeService: (name: ServiceName) => runner(name)?.service.wake?.(),
    wakeInbox: (name: ServiceName) => runner(name)?.wake(),
    async readiness(): Promise<WorkerReadiness> {
      const states = await Promise.all(
        runners.map(async (each) => ({
          name: each.name,
          state: await each.state(),
          isHealthy: await each.isHealthy(),
        })),
      );
      return {
        resources: resources.states(bus),
        consumers: Object.fromEntries(states.map(({ name, state }) => [name, state])),
        loops: degradedLoops(),
        stalled: states.filter(({ isHealthy }) => !isHealthy).map(({ name }) => name),
      };
    },
    async metrics(): Promise<object> {
      await Promise.all(runners.map((each) => each.measure()));
      return metrics.registry.getMetricsAsJSON();
    },
    stopService: (name: ServiceName) => stoppable.stopService(name),
    startService: (name: ServiceName) => stoppable.startService(name),
  };
}

const functions: Partial<WorkerFunctions> = lifecycleFunctions();
const main = new ThreadCalls<MainFunctions>({ port: parentPort as MessagePort, functions, errors: errorClasses });
