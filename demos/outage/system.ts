// The system that an outage happens to, and the services that can be away.
import type { ServiceName } from '../../contracts/services.ts';
import { type StepService, stepResults } from '../shared/metrics.ts';

/** The services that can be away while orders are answered: those that do an order's steps. */
export const steps = Object.keys(stepResults) as StepService[];

export interface OutageSystem {
  /** What it is, in a few words. */
  readonly shape: string;
  /** Of its names on the brokers, and with underscores its database's name; undefined where everything is embedded. */
  readonly prefix?: string;
  /** Where this service answers. The order service's does not change. */
  readonly urlOf: (service: ServiceName) => string;
  stop(service: StepService): Promise<void>;
  /** Resolves when it is ready again. */
  start(service: StepService): Promise<void>;
  /** Aborts with a CliError when something ended that was not stopped. */
  readonly broken: AbortSignal;
  /** Ends everything and removes what was made for it. */
  close(): Promise<void>;
}
