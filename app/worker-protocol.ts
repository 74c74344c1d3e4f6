// The data and calls that pass between the main thread and the worker thread (worker-thread.ts) of the embedded system.
import type { MessagePort } from 'node:worker_threads';
import type { ServiceName } from '../contracts/services.ts';
import { ConcurrentUpdate, DatabaseUnavailable, Overloaded } from '../infra/database/port.ts';
import { BusError } from '../infra/mqtt/port.ts';
import type { publisherFunctions } from '../infra/mqtt/remote.ts';
import { StartFailed, StartupError } from '../infra/runtime/startup-error.ts';
import type { Config } from './config.ts';

/** The data that the worker thread starts with. */
export interface WorkerData {
  readonly config: Config;
  readonly services: readonly ServiceName[];
  /** Takes the ports of MQTT connections to the broker of the main thread. */
  readonly connections: MessagePort;
}

/** The functions of the main thread that the worker thread calls. */
export type MainFunctions = ReturnType<typeof publisherFunctions> & {
  readonly log: (lines: readonly string[]) => void;
};

/** The errors that callers tell apart. */
export const errorClasses = [DatabaseUnavailable, ConcurrentUpdate, Overloaded, BusError, StartupError, StartFailed];
