// The type of a service: its routes, handlers and tables. Each service's index.ts creates one.
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Logger } from 'pino';
import type { Database, Queryable } from '../database/port.ts';
import type { Api } from '../http/api.ts';
import type { Authentication } from '../http/authentication.ts';
import type { AnyHandlers, CloudEvent, Handlers, OnDead } from '../messaging/handler.ts';
import type { ReadHistory } from '../messaging/history.ts';
import type { Outbox, Statement } from '../messaging/outbox.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { GaugeSample } from '../observability/stored-gauges.ts';
import type { Loop } from './loop.ts';

/**
 * The part of its services' work that a process does: `web` serves HTTP, `worker` handles messages and does all other
 * work in the background. In separate processes, each relays the events that it commits itself.
 */
export const roles = ['web', 'worker'] as const;
export type Role = (typeof roles)[number];

/** `Settings`: the service's part of the configuration. */
export interface ServiceContext<Settings> {
  readonly settings: Settings;
  readonly database: Database;
  readonly outbox: Outbox;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Calls `wake` of this service in the worker of this process; another process's worker notices by its polls. */
  readonly wakeWorker: () => void;
}

/** The stored state of a service, one fact per id in the order of the ids, for comparing services with each other. */
export interface FactSource<Fact extends { readonly id: string } = { readonly id: string }> {
  /** At most `limit` facts after an id; fewer only at the end. */
  after(database: Queryable, id: string, limit: number): Promise<Fact[]>;
  of(database: Queryable, ids: readonly string[]): Promise<Fact[]>;
  /** Maximum number of facts per response, if a fact takes long because it counts many rows. */
  readonly maxLimit?: number;
}

/** The facts of a SELECT, which is called with its condition on `id` and its limit. */
export function factsFrom<Fact extends { readonly id: string }>(
  id: string,
  select: (where: string, limit: string) => string,
): FactSource<Fact> {
  const after = select(`${id} > $1`, 'LIMIT $2');
  const of = select(`${id} = ANY($1::uuid[])`, '');
  return {
    after: (queryable, last, limit) => queryable.query(after, [last, limit]),
    of: (queryable, ids) => queryable.query(of, [ids]),
  };
}

/** A subject whose last request is to be resent, and the new event id for it. */
export interface ResendRequest {
  readonly id: string;
  readonly eventId: string;
}

/** `E`: the events that it subscribes to. */
export interface Service<E extends CloudEvent> {
  /** The folder of its numbered SQL files. */
  readonly migrations: URL;
  readonly handlers: Handlers<E>;
  /** Reports dead messages. */
  readonly onDead?: OnDead;
  readonly routes: (api: Api) => void;
  /**
   * Handles requests that come in floods in front of the router, at a fraction of its cost, and passes on the others.
   */
  readonly front?: (next: RequestListener, authentication: Authentication) => RequestListener;
  /** Runs the code that handles floods before the first one comes, so that it is compiled. Takes up to a second. */
  readonly warmUp?: () => Promise<void>;
  /** Reads values for GET /metrics from its tables, in one statement. Their number is bounded. */
  readonly gauges?: (database: Queryable) => Promise<GaugeSample[]>;
  /** Keyed by the path below /audit/. */
  readonly facts: Readonly<Record<string, FactSource>>;
  /** What it has stored about an order or ticket, besides its messages. Each event that it wrote is an entry `written`. */
  readonly history?: ReadHistory;
  /** Resends the last request about each of the ids that are named: see defineResend. */
  readonly resend?: Statement<[requests: readonly ResendRequest[]]>;
  /**
   * Whether a request may be rejected before any work while this process is overloaded: those that come in floods.
   * Called for every request.
   */
  readonly isSheddable?: (request: IncomingMessage) => boolean;
  /** The web role has committed work for the worker. */
  readonly wake?: () => void;
  /** Work in the background of a worker. */
  readonly loops?: readonly Background[];
  /** Work in the background of a web process, on what it has in memory. */
  readonly webLoops?: readonly Background[];
}

/** `healthy`: false if it is stalled and restarting it did not help. */
type Background = Pick<Loop, 'start' | 'stop'> & { readonly healthy?: boolean };

/** A service with any events. */
export type AnyService = Omit<Service<CloudEvent>, 'handlers'> & { readonly handlers: AnyHandlers };
