// The worker thread of the embedded system (worker-thread.ts), as the main thread sees it.
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { ServiceName } from '../contracts/services.ts';
import type { Database } from '../infra/database/port.ts';
import { remoteDatabase } from '../infra/database/remote.ts';
import type { Channel, OutboxRow, RelayHandle } from '../infra/messaging/outbox.ts';
import { publisherFunctions } from '../infra/mqtt/remote.ts';
import { PortStream } from '../infra/runtime/port-stream.ts';
import { within } from '../infra/runtime/promises.ts';
import { ThreadCalls } from '../infra/runtime/thread-calls.ts';
import type { Config } from './config.ts';
import type { Broker } from './resources.ts';
import type { RemoteWorker, WorkerReadiness } from './service-runner.ts';
import { errorClasses, type MainFunctions, type WorkerData } from './worker-protocol.ts';
import type { WorkerFunctions } from './worker-thread.ts';

/** The worker's state may have to wait for a statement of the database, such as its vacuum. Prometheus waits for 10 s. */
const STATE_WITHIN_MS = 5_000;

export interface WorkerOptions {
  readonly config: Config;
  readonly services: readonly ServiceName[];
  /** The broker of this thread, which the worker thread uses too. */
  readonly broker: Broker;
  readonly writeLine: (line: string) => void;
  /** Called if the thread ends without a stop. */
  readonly onDied: (error: Error) => void;
}

export class WorkerThread implements RemoteWorker {
  readonly database: Database;
  readonly #thread: Worker;
  readonly #calls: ThreadCalls<WorkerFunctions>;
  readonly #exited: Promise<void>;
  #stopping = false;
  /** The call under way. */
  #readiness: Promise<WorkerReadiness> | undefined;

  constructor({ config, services, broker, writeLine, onDied }: WorkerOptions) {
    const { port1: connections, port2 } = new MessageChannel();
    connections.on('message', (port: MessagePort) => broker.accept?.(new PortStream(port)));
    const workerData: WorkerData = { config, services, connections: port2 };
    const thread = openThread({ workerData, transferList: [port2] });
    this.#thread = thread;
    const functions: MainFunctions = {
      ...publisherFunctions(broker.publisher),
      log: (lines) => {
        for (const line of lines) writeLine(line);
      },
    };
    this.#calls = new ThreadCalls<WorkerFunctions>({ port: thread, functions, errors: errorClasses });
    this.database = remoteDatabase(this.#calls);
    let cause: unknown;
    thread.on('error', (error) => {
      cause = error;
    });
    this.#exited = new Promise((resolve) => {
      thread.once('exit', () => {
        connections.close();
        const error = new Error('the worker thread has ended: start again to resume its work', { cause });
        this.#calls.end(error);
        if (!this.#stopping) onDied(error);
        resolve();
      });
    });
  }

  /** Resolves when the worker's services run. `signal` cancels it. */
  async start(signal: AbortSignal): Promise<{ paymentUrl: string | undefined }> {
    const abort = () => void this.#calls.call('abort').catch(() => undefined);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    try {
      return await this.#calls.call('start');
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** For a stop: servers that are away or do not respond are no longer waited for. */
  interrupt(): void {
    void this.#calls.call('interrupt').catch(() => undefined); // it has ended already
  }

  /** Stops the worker's services, and ends the thread. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#calls.call('stop').catch(() => undefined); // it has ended already
    await this.#thread.terminate();
    await this.#exited;
  }

  relay(service: ServiceName, channel: Channel): RelayHandle {
    return new RemoteRelay((rows) => this.#calls.call('enqueueFromThread', service, channel, rows));
  }

  wakeService(service: ServiceName): void {
    void this.#calls.call('wakeService', service).catch(() => undefined);
  }

  wakeInbox(service: ServiceName): void {
    void this.#calls.call('wakeInbox', service).catch(() => undefined);
  }

  /** Concurrent callers share one call, because GET /readyz reads the state of each service. */
  readiness(): Promise<WorkerReadiness> {
    this.#readiness ??= within(STATE_WITHIN_MS, this.#calls.call('readiness')).finally(() => {
      this.#readiness = undefined;
    });
    return this.#readiness;
  }

  metrics(): Promise<object> {
    return within(STATE_WITHIN_MS, this.#calls.call('metrics'));
  }

  stopService(service: ServiceName): Promise<void> {
    return this.#calls.call('stopService', service);
  }

  startService(service: ServiceName): Promise<void> {
    return this.#calls.call('startService', service);
  }
}

/** Hands the relay in the worker thread the rows that this thread has committed. The relay returns its lease. */
class RemoteRelay implements RelayHandle {
  readonly #enqueue: (rows: readonly OutboxRow[]) => Promise<number>;
  /**
   * The relay's lease in its latest result, in milliseconds. While it is 0, as before the first result, rows have no
   * lease, and the relay claims them.
   */
  #leaseMs = 0;

  constructor(enqueue: (rows: readonly OutboxRow[]) => Promise<number>) {
    this.#enqueue = enqueue;
  }

  leaseMs(): number {
    return this.#leaseMs;
  }

  enqueue(rows: readonly OutboxRow[]): void {
    // If the thread has ended, so does the process, and the next start publishes the rows.
    this.#enqueue(rows).then(
      (leaseMs) => {
        this.#leaseMs = leaseMs;
      },
      () => undefined,
    );
  }

  wake(): void {
    this.enqueue([]);
  }
}

/**
 * Node 20 runs no TypeScript, and a thread does not inherit tsx. So when the process runs from its sources (tsx, vitest),
 * the thread registers tsx first.
 */
function openThread(options: { workerData: WorkerData; transferList: MessagePort[] }): Worker {
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL('./worker-thread.js', import.meta.url), options);
  const { href } = new URL('./worker-thread.ts', import.meta.url);
  const code = `import('${import.meta.resolve('tsx/esm/api')}').then(({ register }) => { register(); return import('${href}'); })`;
  return new Worker(code, { ...options, eval: true, execArgv: [] });
}
