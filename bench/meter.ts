// Reads from the running system how many orders are completed, and what waits: its own metrics, over HTTP, so that the
// same question can be asked of a database inside a process. The totals that are read after the run are exact.
import { recordedSteps, samplesOf, totalOf } from '../demos/shared/metrics.ts';

export interface Reading {
  /** When it was read, as performance.now() tells time. */
  readonly at: number;
  /** Orders whose three results are recorded: at most that many, and in a steady state off by the same number always. */
  readonly completed: number;
}

export class Meter {
  readonly #url: string;
  readonly #urls: readonly string[];

  /** `url` is that of the order service, `urls` those of all processes. */
  constructor(url: string, urls: readonly string[]) {
    this.#url = url;
    this.#urls = urls;
  }

  async read(): Promise<Reading> {
    const before = performance.now();
    const completed = Math.min(...Object.values(recordedSteps(await metricsOf(this.#url))));
    return { at: (before + performance.now()) / 2, completed };
  }

  /** Rows in all outboxes: events and notifications that have not left yet. Rejects if a process does not know. */
  async outboxRows(): Promise<number> {
    const texts = await Promise.all(this.#urls.map(metricsOf));
    if (!texts.every((text) => text.includes('\nsluice_outbox_rows{')))
      throw new Error('a process does not know its outboxes');
    return totalOf(texts.flatMap((text) => samplesOf(text, 'sluice_outbox_rows')));
  }
}

export async function metricsOf(url: string): Promise<string> {
  const response = await fetch(`${url}/metrics`);
  if (!response.ok) throw new Error(`${url}/metrics answers ${response.status}`);
  return response.text();
}
