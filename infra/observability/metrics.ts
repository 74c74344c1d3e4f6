// What GET /metrics shows, in Prometheus' text format. The values of a label are a closed set that this program defines
// (services, event types, outcomes): a text from outside would be a time series of its own, and there is no end of those.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    published: new Counter({
      name: 'sluice_events_published_total',
      help: 'Events that the broker confirmed, by service and type.',
      labelNames: ['service', 'type'] as const,
      registers,
    }),
    handled: new Counter({
      name: 'sluice_messages_handled_total',
      help: 'Messages whose outcome is recorded, by service, type and outcome; type unknown: none that the service handles.',
      labelNames: ['service', 'type', 'outcome'] as const,
      registers,
    }),
    handling: new Histogram({
      name: 'sluice_message_handling_seconds',
      help: 'From a message reaching the service to its outcome being recorded.',
      labelNames: ['service'] as const,
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
      registers,
    }),
    backlog: new Gauge({
      name: 'sluice_consumer_backlog',
      help: 'Messages that wait or are under way, by service; of rows a million at the most; absent while unknown.',
      labelNames: ['service'] as const,
      registers,
    }),
    outbox: new Gauge({
      name: 'sluice_outbox_rows',
      help: 'Events that are committed and not yet confirmed, by service and channel; a million at the most; absent while unknown.',
      labelNames: ['service', 'channel'] as const,
      registers,
    }),
    unreadablePruned: new Counter({
      name: 'sluice_unreadable_messages_pruned_total',
      help: 'Dead messages that nobody could read and that were forgotten, as there were too many, by service.',
      labelNames: ['service'] as const,
      registers,
    }),
    rebuilds: new Counter({
      name: 'sluice_consumer_rebuilds_total',
      help: 'Consumers that the watchdog rebuilt, by service.',
      labelNames: ['service'] as const,
      registers,
    }),
    overload: new Counter({
      name: 'sluice_overload_rejections_total',
      help: 'Requests rejected with 503 before any work: the event loop was late, or too many were under way.',
      labelNames: ['reason'] as const,
      registers,
    }),
    eventLoopLag: new Gauge({
      name: 'sluice_event_loop_lag_seconds',
      help: 'How long a request that may be rejected has waited for the event loop; absent while none come.',
      registers,
    }),
    resent: new Counter({
      name: 'sluice_resent_total',
      help: 'Questions that were repeated because their answers were overdue, by event type.',
      labelNames: ['type'] as const,
      registers,
    }),
  };
}

export type Metrics = ReturnType<typeof createMetrics>;

/**
 * Sets a gauge, or removes its series while the value is unknown. Prometheus then marks the series as stale: absent() can
 * alert on it and sums go on without it. A 0 would be a false all-clear, the last value would look fresh, and NaN would
 * make every sum over it NaN.
 */
export function setOrRemove<Label extends string>(
  gauge: Gauge<Label>,
  labels: Partial<Record<Label, string>>,
  value: number | null | undefined,
): void {
  if (typeof value === 'number') gauge.set(labels, value);
  else gauge.remove(labels);
}
