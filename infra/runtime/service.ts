// What a service is: these routes, these handlers, these tables. Each service's index.ts makes one.
import type { IncomingMessage } from 'node:http';
import type { Router } from 'express';
import type { Logger } from 'pino';
import type { Database, Queryable } from '../database/port.ts';
import type { CloudEvent } from '../messaging/catalogue.ts';
import type { AnyHandlers, Handlers, OnDead } from '../messaging/handler.ts';
import type { Outbox, Statement } from '../messaging/outbox.ts';
import type { NamedRequest } from '../messaging/resend.ts';
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

/** `E`: the events that it subscribes to. */
export interface Service<E extends CloudEvent> {
  /** The folder of its numbered SQL files. */
  readonly migrations: URL;
  readonly handlers: Handlers<E>;
  /** Reports dead messages. */
  readonly onDead?: OnDead;
  /** What log lines call a message's subject. */
  readonly subjectName?: string;
  readonly routes: (router: Router) => void;
  /** By the path below /audit/. */
  readonly facts: Readonly<Record<string, FactSource>>;
  /** Resends the last request about each of the ids that are named: see defineResend. */
  readonly resend?: Statement<[requests: readonly NamedRequest[]]>;
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
