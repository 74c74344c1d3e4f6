// The worker role of one service: subscribes its inbox, watches its progress, runs its loops, and tells the web
// processes of the service that it works.
import type { Logger } from 'pino';
import { eventSchemas } from '../contracts/events.ts';
import type { ConsumerState } from '../contracts/operations.ts';
import { type ServiceName, SUBJECT_NAME } from '../contracts/services.ts';
import type { Bus, Subscription } from '../infra/bus/port.ts';
import type { Database } from '../infra/database/port.ts';
import { Inbox } from '../infra/messaging/inbox.ts';
import { Watchdog } from '../infra/messaging/watchdog.ts';
import { WorkerHeartbeat } from '../infra/messaging/worker-heartbeat.ts';
import type { Metrics } from '../infra/observability/metrics.ts';
import { failingWork, sentenceOf } from '../infra/runtime/failure-streak.ts';
import type { Health } from '../infra/runtime/health.ts';
import type { AnyService } from '../infra/runtime/service.ts';
import type { Config } from './config.ts';
import { schemaOf } from './schemas.ts';

export interface ConsumerOptions {
  readonly name: ServiceName;
  readonly service: AnyService;
  readonly config: Config;
  readonly database: Database;
  readonly bus: Bus;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/**
 * Interval at which an inbox is polled for rows without a wake-up. PostgreSQL is polled for the events of other
 * processes. PGlite has one process, whose wake-ups find almost every row, and runs one statement at a time; while it
 * is idle, its polls are skipped (see infra/database/poll.ts).
 */
const POLL_MS = { pglite: 500, postgres: 100 };

/** Messages that a service's inbox reads from its table at a time: some kilobytes each. */
const MAX_ROWS = 1_000;

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
  failedRetentionDays: config.FAILED_RETENTION_DAYS,
});

export class Consumer {
  readonly inbox: Inbox;
  readonly #options: ConsumerOptions;
  readonly #heartbeat: WorkerHeartbeat | undefined;
  #subscription: Subscription | undefined;
  #watchdog: Watchdog | undefined;

  constructor(options: ConsumerOptions) {
    const { name, service, config, metrics, log } = options;
    const database = options.database.background;
    const schema = schemaOf(name);
    this.#options = options;
    this.inbox = new Inbox({
      ...inboxOptions(service, config),
      database,
      schema,
      pollMs: POLL_MS[database.kind],
      log,
      maxRows: MAX_ROWS,
      onOutcome: (type, outcome, seconds) => {
        metrics.handled.inc({ service: name, type, outcome });
        metrics.handling.observe({ service: name }, seconds);
      },
      onUnreadablePruned: (count) => metrics.unreadablePruned.inc({ service: name }, count),
    });
    // PGlite has one process, which knows its own state.
    if (database.kind === 'postgres')
      this.#heartbeat = new WorkerHeartbeat({ database, schema, state: () => this.state(), log });
  }

  async start(): Promise<void> {
    const { name, service, bus, config, metrics, log } = this.#options;
    this.inbox.start();
    for (const loop of service.loops ?? []) loop.start();
    this.#subscription = await bus.subscribe(name, this.inbox);
    this.#watchdog = new Watchdog({
      inbox: this.inbox,
      subscription: this.#subscription,
      stallMs: config.WATCHDOG_MS,
      log,
      onRebuild: () => metrics.rebuilds.inc({ service: name }),
    });
    this.#watchdog.start();
    this.#heartbeat?.start();
  }

  /** Receives no more messages and finishes the running ones. Safe to call twice. */
  async stop(): Promise<void> {
    // The watchdog and its subscription stop together: stopping the watchdog may wait for a rebuild, and closing the
    // subscription aborts the rebuild.
    await Promise.all([
      this.inbox.stop(),
      ...(this.#options.service.loops ?? []).map((loop) => loop.stop()),
      this.#watchdog?.stop(),
      this.#subscription?.close(),
      this.#heartbeat?.stop(),
    ]);
    this.#subscription = undefined;
  }

  /** Whether it is subscribed, though perhaps stalled. */
  get isRunning(): boolean {
    return this.#subscription !== undefined;
  }

  /** False if the consumer or a loop is stalled and rebuilding it did not help. */
  get healthy(): boolean {
    const loops = this.#options.service.loops ?? [];
    return this.#watchdog?.healthy !== false && loops.every(({ healthy }) => healthy !== false);
  }

  /** Messages that wait or are being processed; null while unknown. */
  get backlog(): number | null {
    return this.#watchdog?.backlog ?? null;
  }

  /** A consumer whose connection stands is degraded while a loop of its service fails. */
  #health(): Health {
    if (!this.healthy) return { status: 'down', detail: 'stalled: rebuilding it did not help' };
    const subscribed = this.#subscription?.health() ?? { status: 'down' };
    const [failing] = failingWork(this.#options.name);
    if (subscribed.status === 'down' || !failing) return subscribed;
    return { status: 'degraded', detail: sentenceOf(failing) };
  }

  state(): ConsumerState {
    const { lastProgress } = this.inbox;
    return {
      ...this.#health(),
      backlog: this.backlog,
      lastProgressAt:
        lastProgress === undefined ? null : new Date(Date.now() - (performance.now() - lastProgress)).toISOString(),
    };
  }
}
