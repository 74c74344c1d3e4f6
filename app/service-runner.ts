// Runs one service: brings its schema up to date, publishes its outbox, subscribes its inbox, watches its progress and
// says that it is there. The same for every service, whatever carries the events.
import type { Router } from 'express';
import type { Logger } from 'pino';
import type { ConsumerState } from '../contracts/operations.ts';
import type { ServiceName } from '../contracts/services.ts';
import type { Bus, OutgoingEvent, Subscription } from '../infra/bus/port.ts';
import type { Database } from '../infra/database/port.ts';
import { writeEvent } from '../infra/messaging/envelope.ts';
import type { AnyHandlers } from '../infra/messaging/handler.ts';
import { Inbox } from '../infra/messaging/inbox.ts';
import { InboxWorker } from '../infra/messaging/inbox-worker.ts';
import type { ClaimedRow, Outbox } from '../infra/messaging/outbox.ts';
import { publishToUsers } from '../infra/messaging/publish-to-users.ts';
import { Relay, type Unpublished } from '../infra/messaging/relay.ts';
import { Watchdog } from '../infra/messaging/watchdog.ts';
import type { MqttPublisher } from '../infra/mqtt/port.ts';
import { liveTopic } from '../infra/mqtt/topics.ts';
import type { Metrics } from '../infra/observability/metrics.ts';
import { type AnyService, schemaOf } from '../infra/runtime/service.ts';
import type { Config } from './config.ts';

export interface HostOptions {
  readonly name: ServiceName;
  readonly service: AnyService;
  readonly outbox: Outbox;
  readonly config: Config;
  readonly database: Database;
  readonly bus: Bus;
  readonly mqtt: MqttPublisher;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Messages of one service that its inbox handles at a time, out of its table: some kilobytes each. */
const MAX_ROWS = 1_000;

/**
 * How often the tables are looked at for what no wake-up told of. In one process almost nothing is left to be found that
 * way, and PGlite runs one statement at a time; with PostgreSQL it is how events of other processes are found.
 */
const POLL_MS = { pglite: 500, postgres: 100 };

export class ServiceHost {
  readonly name: ServiceName;
  readonly inbox: Inbox;
  readonly #options: HostOptions;
  readonly #worker: InboxWorker;
  readonly #relays: Relay[];
  #subscription: Subscription | undefined;
  #watchdog: Watchdog | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    const { name, service, outbox, config, metrics, log } = options;
    const database = options.database.background;
    this.name = name;
    const pollMs = POLL_MS[database.kind];
    const common = {
      database,
      leaseMs: config.LEASE_MS,
      maxRows: MAX_ROWS,
      attempts: config.RETRY_ATTEMPTS,
      pollMs,
      log,
    };
    this.inbox = new Inbox({
      ...common,
      prefetch: config.PREFETCH,
      schema: schemaOf(name),
      handlers: service.handlers as AnyHandlers,
      outbox,
      step: service.step,
      retryBaseMs: config.RETRY_BASE_MS,
      retryMaxMs: config.RETRY_MAX_MS,
      onOutcome: (type, outcome, seconds) => {
        metrics.handled.inc({ service: name, type, outcome });
        metrics.handling.observe({ service: name }, seconds);
      },
    });
    this.#worker = new InboxWorker({ ...common, inbox: this.inbox, retentionDays: config.INBOX_RETENTION_DAYS });
    this.#relays = [
      new Relay({ ...common, outbox, channel: 'bus', publish: (rows) => this.#publishToBus(rows) }),
      new Relay({
        ...common,
        outbox,
        channel: 'user',
        publish: (rows) => publishToUsers(options.mqtt, config.BUS_PREFIX, rows),
      }),
    ];
  }

  routes(router: Router): void {
    this.#options.service.routes(router);
  }

  /** The service's schema must be up to date. */
  async start(): Promise<void> {
    const { name, service, bus, config, metrics, log } = this.#options;
    const database = this.#options.database.background;
    this.#worker.start();
    for (const relay of this.#relays) relay.start();
    for (const loop of service.loops ?? []) loop.start();
    this.#subscription = await bus.subscribe(name, this.inbox);
    this.#watchdog = new Watchdog({
      database,
      inbox: this.inbox,
      subscription: this.#subscription,
      silenceMs: config.WATCHDOG_MS,
      log,
      onRebuild: () => metrics.rebuilds.inc({ service: name }),
    });
    this.#watchdog.start();
  }

  /** Takes in no more messages and finishes those under way. Safe to call twice. */
  async stopIntake(): Promise<void> {
    await this.#watchdog?.stop();
    this.inbox.stop();
    await Promise.all([...(this.#options.service.loops ?? []).map((loop) => loop.stop()), this.#subscription?.close()]);
    this.#subscription = undefined;
    await this.#worker.stop();
    await this.inbox.idle();
  }

  /** Publishes what is under way; the rest waits in the outbox for the next start. */
  async stopRelays(): Promise<void> {
    await Promise.all(this.#relays.map((relay) => relay.stop()));
  }

  /** False where something makes no progress, and rebuilding it did not help. */
  get healthy(): boolean {
    const loops = this.#options.service.loops ?? [];
    return this.#watchdog?.healthy !== false && loops.every(({ healthy }) => healthy !== false);
  }

  state(): ConsumerState {
    const lastProgress = new Date(Date.now() - (performance.now() - this.inbox.lastProgress));
    return {
      ...(this.healthy ? (this.#subscription?.health() ?? { status: 'down' }) : { status: 'down' }),
      backlog: this.#watchdog?.backlog ?? null,
      lastProgressAt: lastProgress.toISOString(),
    };
  }

  async measure(): Promise<void> {
    const { name, outbox, database, metrics } = this.#options;
    metrics.backlog.set({ service: name }, this.#watchdog?.backlog ?? 0);
    for (const channel of ['bus', 'user'] as const) {
      metrics.outbox.set({ service: name, channel }, await outbox.size(database, channel));
    }
  }

  async #publishToBus(rows: readonly ClaimedRow[]): Promise<Unpublished[]> {
    const { name, bus, mqtt, config, metrics } = this.#options;
    const unpublished: Unpublished[] = [];
    const outgoing: { row: ClaimedRow; event: OutgoingEvent }[] = [];
    for (const row of rows) {
      try {
        outgoing.push({ row, event: writeEvent(row, `/services/${name}`) });
      } catch (error) {
        unpublished.push({ row, error: (error as Error).message, transportDown: false });
      }
    }
    // An answer that was asked for again may stand in the outbox twice; once is enough.
    const events = [...new Map(outgoing.map(({ event }) => [event.id, event])).values()];
    const rejected = new Map((await bus.publish(events)).map(({ id, error }) => [id, error]));
    for (const { row, event } of outgoing) {
      const error = rejected.get(event.id);
      if (error) {
        const transportDown = error.code === 'unavailable' || error.code === 'unconfirmed';
        unpublished.push({ row, error: error.message, transportDown });
      } else {
        metrics.published.inc({ service: name, type: event.type });
        void mqtt.publish(liveTopic(config.BUS_PREFIX, event.type), event.body, { qos: 0 }); // lossy, never rejects
      }
    }
    return unpublished;
  }
}
