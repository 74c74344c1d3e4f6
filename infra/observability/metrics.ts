// The metrics of GET /metrics, in Prometheus' text format. The values of each label are a closed set that this program
// defines (services, event types, outcomes): each text from outside would add a time series, without limit.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type FailingWork, failingWork } from '../runtime/failure-streak.ts';
import { RequestDurations } from './request-durations.ts';
import { createGauge } from './stored-gauges.ts';

/** The timer behind `nodejs_eventloop_lag_*`. The default, 10 ms, takes 1 % of a core while the process is idle. */
const EVENT_LOOP_PRECISION_MS = 100;

/** Gauges of prom-client that are named like counters. `nodejs_active_resources` has the same values by type. */
const MISNAMED = ['nodejs_active_resources_total', 'nodejs_active_handles_total', 'nodejs_active_requests_total'];

export class Metrics {
  readonly registry = new Registry();
  /**
   * The metrics of the process. They are not aggregated over the threads, because the process has each of them once,
   * and because the aggregation would omit its start time.
   */
  readonly #process = new Registry();

  readonly published = this.#counter(
    'sluice_events_published_total',
    'Events that the broker confirmed, by service and type.',
    ['service', 'type'],
  );
  readonly handled = this.#counter(
    'sluice_messages_handled_total',
    'Messages with a recorded outcome, by service, type and outcome; type unknown: one that the service does not handle.',
    ['service', 'type', 'outcome'],
  );
  readonly handling = new Histogram({
    name: 'sluice_message_handling_seconds',
    help: 'From the arrival of a message at the service to its recorded outcome.',
    labelNames: ['service'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    registers: [this.registry],
  });
  readonly backlog = this.#gauge(
    'sluice_consumer_backlog',
    'Messages that wait or are being handled, by service; on RabbitMQ, a waiting one holds one event or several; rows are counted up to a million; absent while unknown.',
    ['service'],
  );
  readonly outbox = this.#gauge(
    'sluice_outbox_rows',
    'Events that are committed and not confirmed, by service and channel; counted up to a million; absent while unknown.',
    ['service', 'channel'],
  );
  readonly outboxOldest = this.#gauge(
    'sluice_outbox_oldest_age_seconds',
    'How long the oldest row of the outbox has waited, by service and channel; 0 if none waits.',
    ['service', 'channel'],
  );
  readonly inboxOldest = this.#gauge(
    'sluice_inbox_oldest_age_seconds',
    'How long ago the oldest stored message arrived that is neither done nor dead, by service; 0 if none is stored.',
    ['service'],
  );
  readonly failed = this.#gauge(
    'sluice_failed_messages',
    'Messages whose handler failed, by service and status: retrying, or dead; counted up to a million.',
    ['service', 'status'],
  );
  readonly workers = this.#gauge(
    'sluice_workers',
    'Processes that work in the role worker, by service: those with a heartbeat in the last ten seconds.',
    ['service'],
  );
  readonly heartbeatAge = this.#gauge(
    'sluice_worker_heartbeat_age_seconds',
    'Time since the latest heartbeat of any worker, by service; absent if all workers were stopped, or were lost more than an hour ago.',
    ['service'],
  );
  readonly unreadablePruned = this.#counter(
    'sluice_unreadable_messages_pruned_total',
    'Unreadable dead messages that were deleted because there were too many, by service.',
    ['service'],
  );
  readonly rebuilds = this.#counter(
    'sluice_consumer_rebuilds_total',
    'Consumers that the watchdog rebuilt, by service.',
    ['service'],
  );
  readonly overload = this.#counter(
    'sluice_overload_rejections_total',
    'Requests rejected with 503 before any work, because the event loop lagged or too many were in progress.',
    ['reason'],
  );
  readonly droppedConnections = this.#counter(
    'sluice_http_connections_dropped_total',
    'Connections closed at once, because MAX_CONNECTIONS were open.',
    [],
  );
  readonly rateLimited = this.#counter(
    'sluice_rate_limit_rejections_total',
    'Requests and MQTT connections rejected because a user, or the address of a client, reached its limit.',
    ['limit'],
  );
  readonly eventLoopLag = this.#gauge(
    'sluice_event_loop_lag_seconds',
    'How long a request that may be rejected has waited for the event loop; absent while none come.',
  );
  readonly requests = new RequestDurations({
    name: 'sluice_http_request_duration_seconds',
    help: 'From the arrival of a request to the end of its response, by method, route and status.',
    registers: [this.registry],
  });
  readonly resent = this.#counter(
    'sluice_resent_total',
    'Requests that were resent because their replies were overdue, by event type.',
    ['type'],
  );

  readonly loopFailures = this.#loopGauge(
    'sluice_loop_failures',
    'Failures in a row of work in the background, by service and loop; absent below five.',
    ({ failures }) => failures,
  );
  readonly loopFailing = this.#loopGauge(
    'sluice_loop_failing_seconds',
    'How long work in the background has failed each time, by service and loop; absent below five failures.',
    ({ forMs }) => forMs / 1_000,
  );

  /** `process`: also the metrics of the process, which its main thread reports. If false, this is its worker thread. */
  constructor({ process = true } = {}) {
    if (process) {
      collectDefaultMetrics({ register: this.#process, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
      for (const name of MISNAMED) this.#process.removeSingleMetric(name);
    } else this.#measureWorkerLag();
  }

  get registries(): readonly Registry[] {
    return [this.#process, this.registry];
  }

  /** The text of GET /metrics, with the metrics of other threads added: their `registry.getMetricsAsJSON()`. */
  async text(others: readonly object[]): Promise<string> {
    const services: Registry = AggregatorRegistry.aggregate([await this.registry.getMetricsAsJSON(), ...others]);
    return Registry.merge([this.#process, services]).metrics();
  }

  /** The metrics of the process have the event-loop lag of the main thread only. */
  #measureWorkerLag(): void {
    const periods = monitorEventLoopDelay({ resolution: EVENT_LOOP_PRECISION_MS });
    periods.enable();
    new Gauge({
      name: 'sluice_worker_event_loop_lag_p99_seconds',
      help: 'Event-loop lag of the worker thread of the embedded system since the last scrape, 99th percentile.',
      registers: [this.registry],
      collect() {
        this.set(Math.max(0, periods.percentile(99) / 1e9 - EVENT_LOOP_PRECISION_MS / 1e3));
        periods.reset();
      },
    });
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  /** Measured when it is read. The job queues of several sales share a series, which shows the worst one. */
  #loopGauge(name: string, help: string, measure: (failing: FailingWork) => number): Gauge<'service' | 'loop'> {
    return new Gauge({
      name,
      help,
      labelNames: ['service', 'loop'],
      registers: [this.registry],
      collect() {
        this.reset();
        const sorted = failingWork().sort((a, b) => measure(a) - measure(b));
        for (const failing of sorted)
          this.set({ service: failing.service ?? '', loop: failing.name }, measure(failing));
      },
    });
  }

  #gauge<Label extends string = never>(name: string, help: string, labels: Label[] = []): Gauge<Label> {
    return createGauge(this.registry, { name, help, labels });
  }
}

/**
 * Sets a gauge, or removes its series while the value is unknown. Prometheus then marks the series as stale: absent()
 * can alert on it, and sums leave it out. A 0 would be a false all-clear, the last value would look current, and NaN
 * would make every sum over it NaN.
 */
export function setOrRemove<Label extends string>(
  gauge: Gauge<Label>,
  labels: Partial<Record<Label, string>>,
  value: number | null | undefined,
): void {
  if (typeof value === 'number') gauge.set(labels, value);
  else gauge.remove(labels);
}
