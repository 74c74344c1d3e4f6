// The system in which an outage takes place, and the services that can be away.
import type { ServiceName } from '../../contracts/services.ts';
import { type StepService, stepResults } from '../shared/metrics.ts';

/** The services that do an order's steps. Orders are accepted while one of them is away. */
export const steps = Object.keys(stepResults) as StepService[];

export interface OutageSystem {
  /** Its shape in a few words. */
  readonly shape: string;
  /** Of its names on the brokers, and with underscores its database's name; undefined if embedded. */
  readonly prefix?: string;
  /** The URL of a service. The order service's does not change. */
  readonly urlOf: (service: ServiceName) => string;
  stop(service: StepService): Promise<void>;
  /** Resolves when it is ready again. */
  start(service: StepService): Promise<void>;
  /** Aborts with a CliError when a process ends by itself. */
  readonly broken: AbortSignal;
  /** Ends all processes and removes everything that was created for them. */
  close(): Promise<void>;
}
