// Reads five times a second for how many orders each step is done, as the order service counts the replies that it has
// recorded. So a service's backlog is known while the service is away: accepted orders without its reply.
import { CliError } from '../shared/errors.ts';
import { HttpClient } from '../shared/http.ts';
import { type PerService, recordedSteps, steps } from '../shared/metrics.ts';
import { Poller } from '../shared/poller.ts';
import { recordOf } from '../shared/record-of.ts';

const EVERY_MS = 200;

export interface Sample {
  /** After the origin. */
  readonly atMs: number;
  /** Accepted orders whose step is not recorded. */
  readonly waiting: PerService;
  /** Orders whose steps are all recorded. */
  readonly completed: number;
}

interface WatchOptions {
  /** The order service's URL. */
  readonly url: string;
  readonly signal: AbortSignal;
  /** The number of orders accepted so far. */
  readonly accepted: () => number;
  readonly onSample: (sample: Sample) => void;
}

export class Watch {
  readonly samples: Sample[] = [];
  /** Takes the samples. */
  readonly poller: Poller<Sample>;
  readonly #options: WatchOptions;
  /** On a connection of its own, so that it does not wait behind the orders. */
  readonly #http: HttpClient;
  /** Steps that were recorded before the first order of this run. */
  #baseline: PerService | undefined;
  #origin = 0;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#http = new HttpClient(options.url);
    this.poller = new Poller(() => this.#sample(), EVERY_MS, options.signal);
  }

  /** Before the first order: reads the baseline. Resolves with the origin of all times, by performance.now(). */
  async start(warmUpMs: number): Promise<number> {
    await this.poller.until(() => true);
    this.#origin = performance.now() + warmUpMs;
    this.samples.length = 0;
    return this.#origin;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #sample(): Promise<Sample> {
    const { signal, accepted, onSample } = this.#options;
    const acceptedBefore = accepted();
    const { status, text } = await this.#http.call('GET /metrics', {}, { signal });
    if (status !== 200) throw new CliError(`the order service shows no metrics: ${status}`);
    const atMs = performance.now() - this.#origin;
    const recorded = recordedSteps(text);
    const baseline = this.#baseline ?? recorded;
    this.#baseline = baseline;
    const done = recordOf(steps, (step) => recorded[step] - baseline[step]);
    const waiting = recordOf(steps, (step) => Math.max(0, acceptedBefore - done[step]));
    const sample = { atMs, waiting, completed: Math.min(...steps.map((step) => done[step])) };
    this.samples.push(sample);
    if (this.#origin > 0) onSample(sample);
    return sample;
  }
}
