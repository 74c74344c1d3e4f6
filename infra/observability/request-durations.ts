// A histogram of HTTP requests that costs about as much as the clock that it reads: each of the requests that come in
// floods is recorded, and prom-client's own histogram would take a percent of their time.
import { Histogram, type Registry } from 'prom-client';

/** In seconds. */
const BUCKETS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10];

/** The methods of the routes; all others are `other`. The label has a closed set of values. */
const METHODS = ['GET', 'HEAD', 'POST'];
/** Above every status, so that a method and a status are one number. */
const STATUSES = 1_000;
/** In place of a status. */
const ABORTED = 0;

/** Counts of requests by bucket, the last one above all bounds; and the sum of their durations in seconds. */
class Series {
  readonly counts = new Float64Array(BUCKETS.length + 1);
  sum = 0;

  add(seconds: number): void {
    let bucket = 0;
    while (bucket < BUCKETS.length && seconds > (BUCKETS[bucket] as number)) bucket++;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.sum += seconds;
  }
}

export interface HttpRequest {
  readonly method: string | undefined;
  /** The pattern of its route, or `unknown`: never its path. */
  readonly route: string;
  /** Undefined if the client broke off before the response began. */
  readonly status: number | undefined;
}

type Label = 'method' | 'route' | 'status';

export class RequestDurations extends Histogram<Label> {
  readonly #name: string;
  /** By route, then by method and status. */
  readonly #routes = new Map<string, Map<number, Series>>();

  constructor(options: { readonly name: string; readonly help: string; readonly registers: Registry[] }) {
    super({ ...options, labelNames: ['method', 'route', 'status'], buckets: BUCKETS });
    this.#name = options.name;
  }

  record({ method = '', route, status = ABORTED }: HttpRequest, seconds: number): void {
    const key = METHODS.indexOf(method) * STATUSES + status;
    let byKey = this.#routes.get(route);
    if (!byKey) {
      byKey = new Map();
      this.#routes.set(route, byKey);
    }
    let series = byKey.get(key);
    if (!series) {
      series = new Series();
      byKey.set(key, series);
    }
    series.add(seconds);
  }

  /** The values in the form of prom-client's histograms. */
  override async get() {
    const values = [...this.#routes].flatMap(([route, byKey]) =>
      [...byKey].flatMap(([key, series]) => this.#valuesOf(series, labelsOf(route, key))),
    );
    return { ...(await super.get()), values };
  }

  #valuesOf({ counts, sum }: Series, labels: Record<Label, string>) {
    const bounds = [...BUCKETS, '+Inf'];
    let count = 0;
    const buckets = bounds.map((le, index) => {
      count += counts[index] as number;
      return { metricName: `${this.#name}_bucket`, labels: { le, ...labels }, value: count };
    });
    return [
      ...buckets,
      { metricName: `${this.#name}_sum`, labels, value: sum },
      { metricName: `${this.#name}_count`, labels, value: count },
    ];
  }
}

function labelsOf(route: string, key: number): Record<Label, string> {
  const method = Math.floor(key / STATUSES);
  const status = key - method * STATUSES;
  return { method: METHODS[method] ?? 'other', route, status: status === ABORTED ? 'aborted' : String(status) };
}
