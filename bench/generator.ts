// The load generator, a process of its own: keeps a fixed number of connections busy with requests, as long as the
// benchmark allows more of them, and reports the responses, their latency, and its own CPU time.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { tokenOf } from './bearer.ts';
import { BROKEN, RawConnection, serializePost } from './raw-http.ts';

export type Command =
  /** Counts from zero and connects; an `idle` sample follows. */
  | ({ readonly type: 'open' } & Requests)
  /** Allows requests until there are `upTo` since the last `open`. */
  | { readonly type: 'allow'; readonly upTo: number }
  /** Allows further requests at this rate from now on. */
  | { readonly type: 'pace'; readonly perSecond: number }
  | { readonly type: 'sample' };

export interface Requests {
  /** The connections are spread over these servers, with the same path. */
  readonly urls: readonly string[];
  /** A shop's orders, over and over; or purchases, each by a new user. */
  readonly body: 'order' | 'purchase';
  readonly connections: number;
  /** Purchases are by so many users, over and over. Undefined: each by a new user. */
  readonly users?: number;
  /** Each user has a token that is signed with it. Undefined: no tokens. */
  readonly secret?: string;
}

/** In milliseconds. */
export type Latency = Readonly<Record<'p50' | 'p95' | 'p99', number>>;

export interface Sample {
  /** `idle`: every allowed request has its response. */
  readonly type: 'sample' | 'idle';
  /** As last allowed: tells which command an `idle` belongs to. */
  readonly allowed: number;
  /** Since `open`, by status. */
  readonly responses: Readonly<Record<number, number>>;
  /**
   * Of the responses since the last sample, by status; in milliseconds, from sending a request to its response's end.
   */
  readonly latency: Readonly<Record<number, Latency>>;
  /** Since the first `allow` or `pace`, and the CPU time of this process since then. */
  readonly elapsedMs: number;
  readonly cpuMs: number;
}

/** How often paced requests are allowed: at 200/s one at a time, at 2,000/s ten. */
const PACE_MS = 5;
/** Before the next request to a server that is gone, which would fail at once. */
const BROKEN_PAUSE_MS = 100;
/** Order bodies before they repeat; enough users that no row is hotter than in a shop. */
const VARIETY = 1_000;

/** Sizes and prices vary as a shop's do, so some orders earn a coupon and others do not. */
const orderBody = (index: number) => ({
  userId: `user-${index}`,
  currency: 'GBP',
  items: Array.from({ length: 1 + (index % 4) }, (_, i) => ({
    sku: `SKU-${(index * 7 + i * 13) % 500}`,
    name: 'White hanging heart T-light holder',
    quantity: 1 + ((index + i) % 6),
    unitPrice: 95 + ((index * 31 + i * 17) % 2_500),
  })),
});
/** The purchase of a new user, whose number has leading zeros, so that all bodies have the same length. */
const purchaseBody = (index: number) => ({ userId: `buyer-${String(index).padStart(9, '0')}` });

class Generator {
  readonly #requestAt: (index: number) => Buffer;
  readonly #connections: readonly RawConnection[];
  readonly #ready: RawConnection[] = [];
  readonly #responses: Record<number, number> = {};
  /** In microseconds, by status. */
  readonly #latencies = new Map<number, RecordableHistogram>();
  #allowed = 0;
  #sent = 0;
  #startedAt = 0;
  #cpuAtStart = process.cpuUsage();
  #closed = false;
  #pacing: NodeJS.Timeout | undefined;

  constructor({ urls, body, connections, users, secret }: Requests) {
    const targets = urls.map((url) => new URL(url));
    const [target] = targets;
    if (!target) throw new RangeError('no server to send requests to');
    const request = (content: { readonly userId: string }) =>
      serializePost(target, JSON.stringify(content), secret && tokenOf(secret, content.userId));
    const all = (length: number, bodyAt: (index: number) => { readonly userId: string }) =>
      Array.from({ length }, (_, index) => request(bodyAt(index)));
    const repeated = body === 'order' ? all(VARIETY, orderBody) : all(users ?? 0, purchaseBody);
    this.#requestAt = (index) => repeated[index % repeated.length] ?? request(purchaseBody(index));
    this.#connections = Array.from({ length: connections }, (_, index) =>
      this.#connect(targets[index % targets.length] ?? target),
    );
  }

  allow(upTo: number): void {
    this.#stopPacing();
    this.#start();
    this.#allow(upTo);
  }

  pace(perSecond: number): void {
    this.#stopPacing();
    this.#start();
    const [from, startedAt] = [this.#sent, performance.now()];
    const allowed = () => from + Math.floor(((performance.now() - startedAt) * perSecond) / 1_000);
    this.#pacing = setInterval(() => this.#allow(allowed()), PACE_MS);
  }

  #stopPacing(): void {
    clearInterval(this.#pacing);
    this.#pacing = undefined;
  }

  #start(): void {
    if (this.#sent > 0) return;
    this.#startedAt = performance.now();
    this.#cpuAtStart = process.cpuUsage();
  }

  #allow(upTo: number): void {
    this.#allowed = upTo;
    this.#send();
  }

  report(type: Sample['type']): void {
    const { user, system } = process.cpuUsage(this.#cpuAtStart);
    process.send?.({
      type,
      allowed: this.#allowed,
      responses: this.#responses,
      latency: this.#takeLatencies(),
      elapsedMs: performance.now() - this.#startedAt,
      cpuMs: (user + system) / 1_000,
    } satisfies Sample);
  }

  close(): void {
    this.#closed = true;
    this.#stopPacing();
    for (const connection of this.#connections) connection.close();
  }

  #connect(target: URL): RawConnection {
    const ready = () => {
      if (this.#closed) return;
      this.#ready.push(connection);
      this.#send();
    };
    const connection = new RawConnection(target, {
      onReady: ready,
      onResponse: (status, ms) => {
        this.#record(status, ms);
        ready();
      },
      onBroken: () => {
        this.#record(BROKEN);
        setTimeout(ready, BROKEN_PAUSE_MS);
      },
    });
    return connection;
  }

  /** Uses the connections that have waited longest, because servers close idle ones after seconds. */
  #send(): void {
    while (this.#sent < this.#allowed) {
      const connection = this.#ready.shift();
      if (!connection) return;
      connection.send(this.#requestAt(this.#sent++));
    }
    if (!this.#pacing && this.#ready.length === this.#connections.length) this.report('idle');
  }

  #record(status: number, ms?: number): void {
    this.#responses[status] = (this.#responses[status] ?? 0) + 1;
    if (ms === undefined) return;
    const histogram = this.#latencies.get(status) ?? createHistogram();
    this.#latencies.set(status, histogram);
    histogram.record(Math.max(1, Math.round(ms * 1_000)));
  }

  #takeLatencies(): Sample['latency'] {
    const taken = Array.from(this.#latencies, ([status, histogram]) => {
      const ms = (percentile: number) => histogram.percentile(percentile) / 1_000;
      return [status, { p50: ms(50), p95: ms(95), p99: ms(99) }] as const;
    });
    this.#latencies.clear();
    return Object.fromEntries(taken);
  }
}

let generator: Generator | undefined;
process.on('message', (command: Command) => {
  if (command.type === 'open') {
    generator?.close();
    generator = new Generator(command);
  } else if (command.type === 'allow') generator?.allow(command.upTo);
  else if (command.type === 'pace') generator?.pace(command.perSecond);
  else generator?.report('sample');
});
// The benchmark has ended or died.
process.on('disconnect', () => generator?.close());
