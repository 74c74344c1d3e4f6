// Reads the running system's metrics over HTTP: how many orders are completed and how much waits. So a database inside a
// process can be measured like a separate one. The totals that are read after the run are exact.
import { setTimeout as delay } from 'node:timers/promises';
import { recordedSteps, samplesOf, totalOf } from '../demos/shared/metrics.ts';
import type { System } from './system.ts';

const POLL_MS = 200;
const COMPLETED_WITHIN_MS = 180_000;

export interface Reading {
  /** By performance.now(). */
  readonly at: number;
  /** Orders with all three results recorded. It may lag, in a steady state always by the same number. */
  readonly completed: number;
}

export class Meter {
  readonly #orderUrl: string;
  readonly #urls: readonly string[];

  constructor({ url, urls }: Pick<System, 'url' | 'urls'>) {
    this.#orderUrl = url;
    this.#urls = Object.values(urls);
  }

  async read(): Promise<Reading> {
    const before = performance.now();
    const completed = Math.min(...Object.values(recordedSteps(await metricsOf(this.#orderUrl))));
    return { at: (before + performance.now()) / 2, completed };
  }

  /** Rows in all outboxes: events and notifications that are not published yet. Rejects if a process reports none. */
  async outboxRows(): Promise<number> {
    const texts = await Promise.all(this.#urls.map(metricsOf));
    if (!texts.every((text) => text.includes('\nsluice_outbox_rows{')))
      throw new Error('a process does not report its outbox rows');
    return totalOf(texts.flatMap((text) => samplesOf(text, 'sluice_outbox_rows')));
  }

  /** Reads again and again for some seconds. */
  async poll(seconds: number, onReading: (reading: Reading) => void): Promise<void> {
    for (const until = performance.now() + seconds * 1_000; performance.now() < until; await delay(POLL_MS))
      onReading(await this.read());
  }

  /** Resolves when that many orders are completed and all events and notifications are published. */
  async untilCompleted(orders: number): Promise<Reading> {
    const deadline = performance.now() + COMPLETED_WITHIN_MS;
    for (;;) {
      const reading = await this.read();
      const rows = reading.completed < orders ? undefined : await this.outboxRows();
      if (rows === 0) return reading;
      if (performance.now() > deadline)
        throw new Error(
          `after ${COMPLETED_WITHIN_MS / 1_000} s, ${reading.completed} of ${orders} orders are completed, outbox rows: ${rows ?? 'not read'}`,
        );
      await delay(POLL_MS);
    }
  }
}

export async function metricsOf(url: string): Promise<string> {
  const response = await fetch(`${url}/metrics`);
  if (!response.ok) throw new Error(`${url}/metrics answers ${response.status}`);
  return response.text();
}
