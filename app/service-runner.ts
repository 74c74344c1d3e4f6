// Runs one service in one or both roles: its routes, its consumer, and the relays of its outbox, with any bus.
import { eventSchemas } from '../contracts/events.ts';
import type { ConsumerState, Readiness } from '../contracts/operations.ts';
import { routingKeyOf, type ServiceName } from '../contracts/services.ts';
import type { Bus, OutgoingEvent } from '../infra/bus/port.ts';
import type { Api } from '../infra/http/api.ts';
import { FailedMessages } from '../infra/messaging/failed-messages.ts';
import { readMessageGauges } from '../infra/messaging/message-gauges.ts';
import { type Channel, channels, type Outbox, type OutboxRow, type RelayHandle } from '../infra/messaging/outbox.ts';
import { publishToBus, publishToUsers, Relay, type RelayOptions } from '../infra/messaging/relay.ts';
import { readWorkerState } from '../infra/messaging/worker-heartbeat.ts';
import type { MqttPublisher } from '../infra/mqtt/port.ts';
import { liveTopic, publishedQos } from '../infra/mqtt/topics.ts';
import { setOrRemove } from '../infra/observability/metrics.ts';
import { type GaugeSample, StoredGauges } from '../infra/observability/stored-gauges.ts';
import { within } from '../infra/runtime/promises.ts';
import type { AnyService, Role } from '../infra/runtime/service.ts';
import { serveAudit } from './admin/audit.ts';
import { serveHistoryPart } from './admin/history.ts';
import { Consumer, type ConsumerOptions } from './consumer.ts';
import { ServiceHistory } from './history/service-history.ts';
import { schemaOf } from './schemas.ts';

/** The worker of this process's services, in another thread. */
export interface RemoteWorker {
  relay(service: ServiceName, channel: Channel): RelayHandle;
  /** Calls `wake` of the service. */
  wakeService(service: ServiceName): void;
  wakeInbox(service: ServiceName): void;
  /** Rejects if the worker does not reply in time. */
  readiness(): Promise<WorkerReadiness>;
}

export interface WorkerReadiness {
  readonly resources: Readiness['resources'];
  readonly consumers: Readiness['consumers'];
  readonly loops: Readiness['loops'];
  /** The services whose consumer or loop is stalled. */
  readonly stalled: readonly ServiceName[];
}

export interface ServiceRunnerOptions extends Omit<ConsumerOptions, 'bus'> {
  readonly roles: readonly Role[];
  readonly outbox: Outbox;
  readonly mqtt: MqttPublisher;
  /** The bus of this process, or the worker thread, which publishes and consumes for it. */
  readonly through: { readonly bus: Bus } | { readonly worker: RemoteWorker };
}

/**
 * Interval at which an outbox is polled for rows that a process left, and at which published rows are deleted. At 200
 * orders/s, these are a tenth of all statements.
 */
const RELAY_POLL_MS = 500;

/** Timeout for reading the state of a worker in another process. */
const STATE_WITHIN_MS = 1_000;

const down = (detail: string): ConsumerState => ({ status: 'down', detail, backlog: null, lastProgressAt: null });

export class ServiceRunner {
  readonly name: ServiceName;
  readonly service: AnyService;
  readonly failed: FailedMessages;
  readonly history: ServiceHistory;
  readonly #options: ServiceRunnerOptions;
  readonly #isWeb: boolean;
  readonly #worker: RemoteWorker | undefined;
  /** Two, so that each is known while the other is not. */
  readonly #gauges: readonly StoredGauges[];
  /** Set by start(). */
  #relays: readonly Relay[] = [];
  #consumer: Consumer | undefined;

  constructor(options: ServiceRunnerOptions) {
    this.name = options.name;
    this.service = options.service;
    const { name, service, config } = options;
    const database = options.database.background;
    this.failed = new FailedMessages(database, schemaOf(name));
    this.history = new ServiceHistory({ name, service, database, retentionDays: config.INBOX_RETENTION_DAYS });
    this.#options = options;
    this.#isWeb = options.roles.includes('web');
    this.#worker = 'worker' in options.through ? options.through.worker : undefined;
    this.#gauges = [
      new StoredGauges(() => this.#readMessageGauges()),
      new StoredGauges(async () => (await this.service.gauges?.(options.database.background)) ?? []),
    ];
  }

  routes(api: Api): void {
    this.#options.service.routes(api);
    serveAudit(api, this.#options);
    serveHistoryPart(api, this.history);
  }

  /** Requires the service's schema to be migrated. */
  async start(): Promise<void> {
    const { name, roles, outbox, through } = this.#options;
    if ('worker' in through) {
      for (const channel of channels) outbox.connect(channel, through.worker.relay(name, channel));
    } else {
      this.#relays = createRelays(this.#options, through.bus);
      for (const relay of this.#relays) relay.start();
    }
    if (this.#isWeb) for (const loop of this.service.webLoops ?? []) loop.start();
    if ('worker' in through || !roles.includes('worker')) return;
    this.#consumer = new Consumer({ ...this.#options, bus: through.bus });
    await this.#consumer.start();
  }

  /** Receives no more messages and finishes the running ones. Safe to call twice. */
  async stopReceiving(): Promise<void> {
    const webLoops = this.#isWeb ? (this.service.webLoops ?? []) : [];
    await Promise.all([this.#consumer?.stop(), ...webLoops.map((loop) => loop.stop())]);
  }

  /** Finishes the publishes in flight; the rest stays in the outbox for the next start. Call it after stopReceiving. */
  async stopRelays(): Promise<void> {
    await Promise.all(this.#relays.map((relay) => relay.stop()));
  }

  /** Claims due messages now, rather than at the next poll. A worker in another process finds them at its next poll. */
  wake(): void {
    if (this.#worker) this.#worker.wakeInbox(this.name);
    else this.#consumer?.inbox.wake();
  }

  /**
   * Hands the relay of `channel` the rows that the other thread has committed. Returns the lease for the rows that the
   * thread commits next, in milliseconds.
   */
  enqueueFromThread(channel: Channel, rows: readonly OutboxRow[]): number {
    const relay = this.#relays[channels.indexOf(channel)];
    if (rows.length > 0) relay?.enqueue(rows);
    else relay?.wake();
    return relay?.leaseMs() ?? 0;
  }

  /**
   * False if the consumer or a loop is stalled and rebuilding it did not help, or if the worker thread does not reply.
   */
  async isHealthy(): Promise<boolean> {
    if (!this.#worker) return this.#consumer?.healthy !== false;
    const stalled = this.#worker.readiness().then((readiness) => readiness.stalled);
    return stalled.then((names) => !names.includes(this.name)).catch(() => false);
  }

  /** The state of the service's consumer: in this thread, in the worker thread, or in another process. */
  async state(): Promise<ConsumerState> {
    if (this.#consumer) return this.#consumer.state();
    const { database } = this.#options;
    const state = this.#worker
      ? this.#worker.readiness().then(({ consumers }) => consumers[this.name])
      : within(STATE_WITHIN_MS, readWorkerState<ConsumerState>(database, schemaOf(this.name)));
    return state.then(
      (known) => known ?? down('no worker runs: start one with --role worker'),
      () => down(this.#worker ? 'unknown: the worker thread does not reply' : 'unknown: no response from the database'),
    );
  }

  /** Sets the gauges; a gauge whose value is unknown is removed. The worker thread sets its own. */
  async measure(): Promise<void> {
    if (this.#worker) return;
    const { name: service, metrics } = this.#options;
    setOrRemove(metrics.backlog, { service }, this.#consumer?.backlog);
    await Promise.all(this.#gauges.map((gauges) => gauges.refresh()));
  }

  #readMessageGauges(): Promise<GaugeSample[]> {
    const { name: service, database, metrics } = this.#options;
    const embeddedWorks = database.kind === 'pglite' && this.#consumer?.isRunning;
    return readMessageGauges(database.background, { metrics, service, schema: schemaOf(service), embeddedWorks });
  }
}

/** Relays that publish the events of this process and, in the role worker, events that other processes left. */
function createRelays(options: ServiceRunnerOptions, bus: Bus): Relay[] {
  const { name, roles, outbox, config, database, mqtt, metrics, log } = options;
  const toBus = {
    bus,
    catalogue: eventSchemas,
    source: `/services/${name}`,
    routingKeyOf,
    onPublished({ type, body }: OutgoingEvent) {
      metrics.published.inc({ service: name, type });
      void mqtt.publish(liveTopic(config.BUS_PREFIX, type), body, { qos: publishedQos.live }); // lossy, never rejects
    },
  };
  const publishers: Record<Channel, RelayOptions['publish']> = {
    bus: (rows) => publishToBus(toBus, rows),
    user: (rows) => publishToUsers(mqtt, config.BUS_PREFIX, rows),
  };
  return channels.map((channel) => {
    const relay = new Relay({
      database: database.background,
      schema: schemaOf(name),
      channel,
      publish: publishers[channel],
      leaseMs: config.LEASE_MS,
      claims: roles.includes('worker'),
      pollMs: RELAY_POLL_MS,
      log,
    });
    outbox.connect(channel, relay);
    return relay;
  });
}
