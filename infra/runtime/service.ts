// What a service is: these routes, these handlers, these tables. Each service's index.ts makes one.
import type { IncomingMessage } from 'node:http';
import type { Router } from 'express';
import type { Logger } from 'pino';
import type { Database, Queryable } from '../database/port.ts';
import type { CloudEvent } from '../messaging/catalogue.ts';
import type { AnyHandlers, Handlers, OnDead } from '../messaging/handler.ts';
import type { Outbox } from '../messaging/outbox.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { Loop } from './loop.ts';

/** What a service is made with; `Settings` is its part of the configuration. */
export interface ServiceContext<Settings> {
  readonly settings: Settings;
  readonly database: Database;
  readonly outbox: Outbox;
  readonly metrics: Metrics;
  readonly log: Logger;
}

interface Background extends Pick<Loop, 'start' | 'stop'> {
  /** False where it makes no progress and beginning anew did not help. */
  readonly healthy?: boolean;
}

/** What a service has stored, one fact for each id, in the order of the ids; for comparing services with each other. */
export interface FactSource<Fact extends { readonly id: string } = { readonly id: string }> {
  /** Those after an id: at most `limit`; fewer only at the end. */
  after(database: Queryable, id: string, limit: number): Promise<Fact[]>;
  of(database: Queryable, ids: readonly string[]): Promise<Fact[]>;
  /** Facts in one answer at the most, where each takes long: the longer, the more rows it is counted through. */
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

/** The SQL of sending anew what was requested last about the ids that are named. */
export interface Resend {
  /** CTE `asked`, the rows of `asked` that `events` speak of; $1: [{ id, eventId }]. */
  readonly chosen: string;
  readonly events: string;
}

/** `E`: the events that it subscribes to. */
export interface Service<E extends CloudEvent> {
  /** The folder of its numbered SQL files. */
  readonly migrations: URL;
  readonly handlers: Handlers<E>;
  /** What becomes of messages that are dead. */
  readonly onDead?: OnDead;
  /** What log lines call a message's subject. */
  readonly subjectName?: string;
  readonly routes: (router: Router) => void;
  /** By the path below /audit/. */
  readonly facts: Readonly<Record<string, FactSource>>;
  readonly resend?: Resend;
  /**
   * Requests that come in floods: they are rejected before any work while this process has more than it can bear. Called
   * for every request.
   */
  readonly mayReject?: (request: IncomingMessage) => boolean;
  /** Work that goes on by itself. */
  readonly loops?: readonly Background[];
}

/** A service, where it does not matter which events it knows. */
export type AnyService = Omit<Service<CloudEvent>, 'handlers'> & { readonly handlers: AnyHandlers };
