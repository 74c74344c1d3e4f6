// Gauges whose values are read from a database: together, with a deadline, and no more often than the database can
// spare, however many clients read the metrics.
import { Gauge, type Registry } from 'prom-client';
import { within } from '../runtime/promises.ts';

export interface GaugeOptions<Label extends string> {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly Label[];
}

/** A gauge that has no value until one is set. One of prom-client without labels begins with 0, a false all-clear. */
export function createGauge<Label extends string = never>(
  registry: Registry,
  { name, help, labels = [] }: GaugeOptions<Label>,
): Gauge<Label> {
  const gauge = new Gauge({ name, help, labelNames: labels, registers: [registry] });
  gauge.remove({});
  return gauge;
}

/** One value of a gauge. */
export interface GaugeSample {
  show(): void;
  /** Removes the series. */
  hide(): void;
}

export const sampleOf = <Label extends string = never>(
  gauge: Gauge<Label>,
  value: number,
  labels: Partial<Record<Label, string>> = {},
): GaugeSample => ({ show: () => gauge.set(labels, value), hide: () => gauge.remove(labels) });

/** Values are unknown after this time. Well below the 10 s after which Prometheus aborts a scrape. */
const WITHIN_MS = 3_000;
/** A value is at least this long in use. */
const FRESH_MS = 1_000;
/** A value is in use for this many times as long as reading it took, so that slow readings are rare. */
const FRESH_FACTOR = 20;
/** A value may be this old while the database is away, and must not look current for long. */
const MAX_FRESH_MS = 10_000;

export class StoredGauges {
  readonly #read: () => Promise<readonly GaugeSample[]>;
  readonly #now: () => number;
  #shown: readonly GaugeSample[] = [];
  #freshUntil = Number.NEGATIVE_INFINITY;
  /** A slow reading is not started twice. */
  #reading: Promise<void> | undefined;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(read: () => Promise<readonly GaugeSample[]>, now = () => performance.now()) {
    this.#read = read;
    this.#now = now;
  }

  /** Sets the gauges unless their values are fresh. If they cannot be read in time, their series are removed. */
  async refresh(): Promise<void> {
    if (this.#now() < this.#freshUntil) return;
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = undefined;
    });
    await within(WITHIN_MS, this.#reading).catch(() => this.#show([]));
  }

  async #readAll(): Promise<void> {
    const startedAt = this.#now();
    const samples = await this.#read().catch((error) => {
      this.#freshUntil = this.#now() + FRESH_MS;
      throw error;
    });
    const readAt = this.#now();
    this.#freshUntil = readAt + Math.min(Math.max(FRESH_MS, FRESH_FACTOR * (readAt - startedAt)), MAX_FRESH_MS);
    this.#show(samples);
  }

  #show(samples: readonly GaugeSample[]): void {
    for (const sample of this.#shown) sample.hide();
    for (const sample of samples) sample.show();
    this.#shown = samples;
  }
}
