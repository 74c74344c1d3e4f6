// The load generator, a process of its own: keeps a fixed number of connections busy with requests, as long as the
// benchmark allows more of them, and reports how they were answered, how soon, and what that cost itself.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Latency } from '../demos/shared/statistics.ts';
import { purchaseBody } from './flash-sale/purchase-body.ts';
import { orderBodies } from './orders.ts';
import { BROKEN, RawConnection, serializePost } from './raw-http.ts';

export type Command =
  /** Counts from zero, and connects: `idle` follows. `url` is where the bodies are posted. */
  | { readonly type: 'open'; readonly url: string; readonly body: Body; readonly connections: number }
  /** Requests may be sent until there are `upTo` since the last `open`. */
  | { readonly type: 'allow'; readonly upTo: number }
  | { readonly type: 'sample' };

/** Orders of a shop, over and over; or purchases, each by a user who has not come before. */
export type Body = 'order' | 'purchase';

/** In milliseconds, from the request's first byte to the answer's last one. */
export type RequestLatency = Pick<Latency, 'p50' | 'p99' | 'max'>;

export interface Sample {
  /** `idle`: everything that was allowed is answered. */
  readonly type: 'sample' | 'idle';
  /** As last allowed: tells which command an `idle` belongs to. */
  readonly allowed: number;
  /** Answers since `open`, by status. */
  readonly answers: Readonly<Record<number, number>>;
  /** Of the answers since the last sample, by status. */
  readonly latency: Readonly<Record<number, RequestLatency>>;
  /** Since the first `allow`, and the CPU that this process used in that time. */
  readonly elapsedMs: number;
  readonly cpuMs: number;
}

/** A server that is gone is not asked as fast as it rejects. */
const BROKEN_PAUSE_MS = 100;

let opened = 0;
let connections: RawConnection[] = [];
let waiting: RawConnection[] = [];
let requestAt: (index: number) => Buffer;
let allowed = 0;
let sent = 0;
let answers: Record<number, number> = {};
/** In microseconds, by status. */
const latencies = new Map<number, RecordableHistogram>();
let startedAt = 0;
let cpuAtStart = process.cpuUsage();

function requestsTo(url: URL, body: Body): (index: number) => Buffer {
  const request = (text: string) => serializePost(url.host, url.pathname, text);
  if (body === 'purchase') return (index) => request(purchaseBody(index));
  const orders = orderBodies().map(request);
  return (index) => orders[index % orders.length] as Buffer;
}

function open(url: URL, body: Body, count: number): void {
  for (const connection of connections.splice(0)) connection.close();
  const current = ++opened;
  waiting = [];
  requestAt = requestsTo(url, body);
  allowed = sent = 0;
  answers = {};
  latencies.clear();
  connections = Array.from({ length: count }, () => {
    const free = () => {
      if (current !== opened) return;
      waiting.push(connection);
      pump();
    };
    const connection = new RawConnection(url, {
      onReady: free,
      onAnswer: (status, ms) => {
        answers[status] = (answers[status] ?? 0) + 1;
        record(status, ms);
        free();
      },
      onBroken: () => {
        answers[BROKEN] = (answers[BROKEN] ?? 0) + 1;
        setTimeout(free, BROKEN_PAUSE_MS);
      },
    });
    return connection;
  });
}

function record(status: number, ms: number): void {
  let histogram = latencies.get(status);
  if (!histogram) {
    histogram = createHistogram();
    latencies.set(status, histogram);
  }
  histogram.record(Math.max(1, Math.round(ms * 1_000)));
}

function takeLatencies(): Record<number, RequestLatency> {
  const taken = [...latencies].map(([status, histogram]) => {
    const ms = (percentile: number) => histogram.percentile(percentile) / 1_000;
    return [status, { p50: ms(50), p99: ms(99), max: histogram.max / 1_000 }] as const;
  });
  latencies.clear();
  return Object.fromEntries(taken);
}

/** Sends on the connections that have waited longest, as servers end those that are idle for seconds. */
function pump(): void {
  while (sent < allowed) {
    const connection = waiting.shift();
    if (!connection) return;
    connection.send(requestAt(sent++));
  }
  if (waiting.length === connections.length) report('idle');
}

function allow(upTo: number): void {
  if (sent === 0) {
    startedAt = performance.now();
    cpuAtStart = process.cpuUsage();
  }
  allowed = upTo;
  pump();
}

function report(type: Sample['type']): void {
  const { user, system } = process.cpuUsage(cpuAtStart);
  const elapsedMs = performance.now() - startedAt;
  const cpuMs = (user + system) / 1_000;
  process.send?.({ type, allowed, answers, latency: takeLatencies(), elapsedMs, cpuMs } satisfies Sample);
}

process.on('message', (command: Command) => {
  switch (command.type) {
    case 'open':
      return open(new URL(command.url), command.body, command.connections);
    case 'allow':
      return allow(command.upTo);
    case 'sample':
      return report('sample');
  }
});
// The benchmark is over, or has died.
process.on('disconnect', () => {
  for (const connection of connections) connection.close();
});
