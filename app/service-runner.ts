// Runs one service: publishes its outbox, subscribes its inbox, watches its progress, on every bus.
import type { Router } from 'express';
import type { Logger } from 'pino';
import { eventSchemas } from '../contracts/events.ts';
import type { ConsumerState } from '../contracts/operations.ts';
import { type ServiceName, SUBJECT_NAME } from '../contracts/services.ts';
import type { Bus, OutgoingEvent, Subscription } from '../infra/bus/port.ts';
import type { Database } from '../infra/database/port.ts';
import { Inbox } from '../infra/messaging/inbox.ts';
import { type Channel, channels, type Outbox } from '../infra/messaging/outbox.ts';
import { publishToBus, publishToUsers, Relay, type RelayOptions } from '../infra/messaging/relay.ts';
import { Watchdog } from '../infra/messaging/watchdog.ts';
import type { MqttPublisher } from '../infra/mqtt/port.ts';
import { liveTopic } from '../infra/mqtt/topics.ts';
import { type Metrics, setOrRemove } from '../infra/observability/metrics.ts';
import { within } from '../infra/runtime/promises.ts';
import type { AnyService } from '../infra/runtime/service.ts';
import { factsRoutes } from './admin/facts.ts';
import type { Config } from './config.ts';
import { schemaOf } from './schemas.ts';

export interface ServiceRunnerOptions {
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

/** Messages that a service's inbox reads from its table at a time: some kilobytes each. */
const MAX_ROWS = 1_000;

/**
 * Interval at which an inbox is polled for rows without a wake-up. PostgreSQL is polled for the events of other
 * processes. PGlite has one process, whose wake-ups find almost every row, and runs one statement at a time.
 */
const POLL_MS = { pglite: 500, postgres: 100 };
/**
 * Interval at which an outbox is polled for rows that a process left, and at which published rows are deleted: a tenth
 * of the statements of an order at 200 orders/s.
 */
const RELAY_POLL_MS = 500;

/** An unavailable database must not delay the other metrics: Prometheus aborts a scrape after 10 s. */
const MEASURED_WITHIN_MS = 5_000;

/** The options of a service's inbox that come from its code and from the configuration. */
export const inboxOptions = (service: AnyService, config: Config) => ({
  catalogue: eventSchemas,
  handlers: service.handlers,
  onDead: service.onDead,
  subjectName: SUBJECT_NAME,
  attempts: config.RETRY_ATTEMPTS,
  retryBaseMs: config.RETRY_BASE_MS,
  retryMaxMs: config.RETRY_MAX_MS,
  leaseMs: config.LEASE_MS,
  prefetch: config.PREFETCH,
  retentionDays: config.INBOX_RETENTION_DAYS,
});

export class ServiceRunner {
  readonly name: ServiceName;
  readonly service: AnyService;
  readonly #options: ServiceRunnerOptions;
  #consumer: ReturnType<typeof createConsumer>;
  #stopped = false;
  #subscription: Subscription | undefined;
  #watchdog: Watchdog | undefined;

  constructor(options: ServiceRunnerOptions) {
    this.name = options.name;
    this.service = options.service;
    this.#options = options;
    this.#consumer = createConsumer(this.#options);
  }

  get inbox(): Inbox {
    return this.#consumer.inbox;
  }

  routes(router: Router): void {
    this.#options.service.routes(router);
    factsRoutes(router, this.#options);
  }

  /** Requires the service's schema to be migrated. */
  async start(): Promise<void> {
    const { name, service, bus, config, metrics, log } = this.#options;
    if (this.#stopped) this.#consumer = createConsumer(this.#options);
    this.#stopped = false;
    const { inbox, relays } = this.#consumer;
    inbox.start();
    for (const relay of relays) relay.start();
    for (const loop of service.loops ?? []) loop.start();
    this.#subscription = await bus.subscribe(name, inbox);
    this.#watchdog = new Watchdog({
      inbox,
      subscription: this.#subscription,
      stallMs: config.WATCHDOG_MS,
      log,
      onRebuild: () => metrics.rebuilds.inc({ service: name }),
    });
    this.#watchdog.start();
  }

  /** Receives no more messages and finishes the running ones. Safe to call twice. */
  async stopIntake(): Promise<void> {
    // The watchdog together with its subscription: it may wait for a rebuild, which closing aborts.
    await Promise.all([
      this.inbox.stop(),
      ...(this.#options.service.loops ?? []).map((loop) => loop.stop()),
      this.#watchdog?.stop(),
      this.#subscription?.close(),
    ]);
    this.#subscription = undefined;
  }

  /** Finishes the publishes in flight; the rest stays in the outbox for the next start. Call it after stopIntake. */
  async stopRelays(): Promise<void> {
    await Promise.all(this.#consumer.relays.map((relay) => relay.stop()));
    this.#stopped = true;
  }

  /** False if the consumer or a loop is stalled and rebuilding it did not help. */
  get healthy(): boolean {
    const loops = this.#options.service.loops ?? [];
    return this.#watchdog?.healthy !== false && loops.every(({ healthy }) => healthy !== false);
  }

  state(): ConsumerState {
    const { lastProgress } = this.inbox;
    return {
      ...(this.healthy ? (this.#subscription?.health() ?? { status: 'down' }) : { status: 'down' }),
      backlog: this.#watchdog?.backlog ?? null,
      lastProgressAt:
        lastProgress === undefined ? null : new Date(Date.now() - (performance.now() - lastProgress)).toISOString(),
    };
  }

  /** Sets the gauges; a gauge whose value is unknown is removed (see setOrRemove). */
  async measure(): Promise<void> {
    const { name: service, outbox, database, metrics } = this.#options;
    setOrRemove(metrics.backlog, { service }, this.#watchdog?.backlog);
    await Promise.all(
      channels.map(async (channel) => {
        const rows = within(MEASURED_WITHIN_MS, outbox.size(database, channel)).catch(() => undefined);
        setOrRemove(metrics.outbox, { service, channel }, await rows);
      }),
    );
  }
}

/** The parts that receive and publish messages, from one start to the next stop. */
function createConsumer(options: ServiceRunnerOptions) {
  const { name, service, outbox, config, bus, mqtt, metrics, log } = options;
  const database = options.database.background;
  const common = {
    database,
    schema: schemaOf(name),
    leaseMs: config.LEASE_MS,
    pollMs: POLL_MS[database.kind],
    log,
  };
  const inbox = new Inbox({
    ...inboxOptions(service, config),
    ...common,
    maxRows: MAX_ROWS,
    onOutcome: (type, outcome, seconds) => {
      metrics.handled.inc({ service: name, type, outcome });
      metrics.handling.observe({ service: name }, seconds);
    },
    onUnreadablePruned: (count) => metrics.unreadablePruned.inc({ service: name }, count),
  });
  const toBus = {
    bus,
    catalogue: eventSchemas,
    source: `/services/${name}`,
    onPublished({ type, body }: OutgoingEvent) {
      metrics.published.inc({ service: name, type });
      void mqtt.publish(liveTopic(config.BUS_PREFIX, type), body, { qos: 0 }); // lossy, never rejects
    },
  };
  const publishers: Record<Channel, RelayOptions['publish']> = {
    bus: (rows) => publishToBus(toBus, rows),
    user: (rows) => publishToUsers(mqtt, config.BUS_PREFIX, rows),
  };
  const relays = channels.map((channel) => {
    const relay = new Relay({ ...common, pollMs: RELAY_POLL_MS, channel, publish: publishers[channel] });
    outbox.connect(channel, relay);
    return relay;
  });
  return { inbox, relays };
}
