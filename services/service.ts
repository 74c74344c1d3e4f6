// What a service is: these routes, these handlers, these tables. Each service's index.ts makes one.
import type { Router } from 'express';
import type { Logger } from 'pino';
import type { StepName } from '../contracts/orders.ts';
import type { ServiceName } from '../contracts/services.ts';
import type { Config } from '../infra/config.ts';
import type { Database } from '../infra/database/port.ts';
import type { Loop } from '../infra/loop.ts';
import type { Handlers } from '../infra/messaging/handler.ts';
import type { Outbox } from '../infra/messaging/outbox.ts';
import type { Metrics } from '../infra/metrics.ts';

/** A service's tables live in a PostgreSQL schema of its own, which no other service reads. */
export const schemaOf = (service: string) => `sluice_${service}`;

export interface ServiceContext {
  readonly config: Config;
  readonly database: Database;
  readonly outbox: Outbox;
  readonly metrics: Metrics;
  readonly log: Logger;
}

export interface Service<S extends ServiceName> {
  /** The folder of its numbered SQL files. */
  readonly migrations: URL;
  readonly handlers: Handlers<S>;
  /** The step of an order that it answers for. */
  readonly step?: StepName;
  readonly routes: (router: Router) => void;
  /** Work that repeats by itself. */
  readonly loops?: readonly Loop[];
}

/** A service, where it does not matter which. */
export type AnyService = { [S in ServiceName]: Service<S> }[ServiceName];
