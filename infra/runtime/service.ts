// What a service is: these routes, these handlers, these tables. Each service's index.ts makes one.
import type { IncomingMessage } from 'node:http';
import type { Router } from 'express';
import type { Logger } from 'pino';
import type { Config } from '../../app/config.ts';
import type { StepName } from '../../contracts/orders.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { Database } from '../database/port.ts';
import type { Handlers } from '../messaging/handler.ts';
import type { Outbox } from '../messaging/outbox.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { Loop } from './loop.ts';

/** A service's tables live in a PostgreSQL schema of its own, which no other service reads. */
export const schemaOf = (service: string) => `sluice_${service.replaceAll('-', '_')}`;

export interface ServiceContext {
  readonly config: Config;
  readonly database: Database;
  readonly outbox: Outbox;
  readonly metrics: Metrics;
  readonly log: Logger;
}

export interface Background extends Pick<Loop, 'start' | 'stop'> {
  /** False where it makes no progress and beginning anew did not help. */
  readonly healthy?: boolean;
}

export interface Service<S extends ServiceName> {
  /** The folder of its numbered SQL files. */
  readonly migrations: URL;
  readonly handlers: Handlers<S>;
  /** The step of an order that it answers for. */
  readonly step?: StepName;
  readonly routes: (router: Router) => void;
  /**
   * Requests that come in floods: they are refused before any work while this process has more than it can bear. Called
   * for every request.
   */
  readonly mayRefuse?: (request: IncomingMessage) => boolean;
  /** Work that goes on by itself. */
  readonly loops?: readonly Background[];
}

/** A service, where it does not matter which. */
export type AnyService = { [S in ServiceName]: Service<S> }[ServiceName];
