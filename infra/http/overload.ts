// Overload control: a guard in front of Express rejects sheddable requests cheaply, before they reach it and the
// database, when too many are in flight or the event loop lags. An accepted request gets its response in bounded time, however many come;
// a rejection costs a small part of a response.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { CALM_MS, EventLoopLag, LoadShedder } from './event-loop-lag.ts';
import { unavailable } from './problem.ts';

export const DEFAULTS = {
  /**
   * How long a request may have waited for the event loop. Longer than the lag that a few hundred connections cause in
   * a process with the embedded database while V8 still compiles the code; shorter than a wait that a shopper takes for
   * a fault.
   */
  maxLagMs: 500,
  /**
   * Sheddable requests in flight in one process. They wait for the next group commit: at 1,500 to 3,500 decisions a
   * second, this is about a second's work. More of them would only wait longer and hold memory.
   */
  maxInFlight: 2_000,
  /** Lag that ends within this time is a burst or a pause (garbage collection), and no request is rejected for it. */
  toleratedMs: 500,
  /** Sheddable bodies are small. A body that takes longer would occupy a slot that other requests need. */
  bodyWithinMs: 5_000,
};

/** Resolution at which turns of the loop are told apart. Small against maxLagMs, large against the cost of a timer. */
const TICK_MS = 10;

/** The rest of a body up to this size is read and discarded; for a longer one, closing the connection costs less. */
const MAX_DRAINED_BYTES = 16 * 1024;

export interface OverloadGuardOptions extends Partial<typeof DEFAULTS> {
  /** Whether a request may be rejected. Called for every request, so it must be cheap. */
  readonly isSheddable: (request: IncomingMessage) => boolean;
}

/** One for each Retry-After, so that clients that are rejected together do not return together. */
const rejections = [1, 2, 3].map((seconds) => unavailable('Too many requests at once. Try again.', seconds));

export class OverloadGuard {
  readonly #options: Required<OverloadGuardOptions>;
  readonly #shedder: LoadShedder;
  readonly #lag = new EventLoopLag(performance.now());
  readonly #rejected = { inFlight: 0, lag: 0 };
  #inFlight = 0;
  #timer: NodeJS.Timeout | undefined;
  #lastRequestAt = 0;

  constructor(options: OverloadGuardOptions) {
    this.#options = { ...DEFAULTS, ...options };
    this.#shedder = new LoadShedder(this.#options.maxLagMs, this.#options.toleratedMs, performance.now());
  }

  /** Sheddable requests that were accepted and have no response yet. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Rejected requests since the start by reason: maxInFlight requests were in flight, or the event loop lagged. */
  get rejected() {
    return { ...this.#rejected };
  }

  /**
   * How long a request that is handled now may have waited for the event loop. Undefined while no sheddable ones come.
   */
  get lagMs(): number | undefined {
    return this.#timer ? this.#lag.at(performance.now()) : undefined;
  }

  /** A listener that rejects a request or passes it on. Several listeners may share one guard, and then its limits. */
  guard(listener: RequestListener): RequestListener {
    const { isSheddable, maxInFlight, bodyWithinMs } = this.#options;
    return (request, response) => {
      if (!isSheddable(request)) return listener(request, response);
      const now = performance.now();
      this.#lastRequestAt = now;
      this.#startTimer(now);
      const isFull = this.#inFlight >= maxInFlight;
      if (isFull || !this.#shedder.accepts(this.#lag.at(now), now)) {
        this.#rejected[isFull ? 'inFlight' : 'lag']++;
        return reject(request, response);
      }
      this.#inFlight++;
      const bodyTimeout = setTimeout(() => {
        if (!request.complete) request.destroy();
      }, bodyWithinMs);
      response.once('close', () => {
        this.#inFlight--;
        clearTimeout(bodyTimeout);
      });
      listener(request, response);
    };
  }

  /** Stops the timer, which also stops by itself CALM_MS after the last sheddable request. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The timer runs only while sheddable requests come, so that it does not wake an idle process. */
  #startTimer(now: number): void {
    if (this.#timer) return;
    this.#lag.reset(now);
    this.#shedder.reset(now);
    this.#timer = setInterval(() => {
      const tick = performance.now();
      this.#lag.tick(tick);
      this.#shedder.observe(this.#lag.at(tick));
      if (tick - this.#lastRequestAt > CALM_MS) this.stop();
    }, TICK_MS);
  }
}

/**
 * Sends 503 without reading the body into memory. After a short body, which node:http discards once the response is
 * sent, the connection stays open; after a long one or one of unknown length it is closed.
 */
function reject(request: IncomingMessage, response: ServerResponse): void {
  const { headers } = request;
  const isShort =
    headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) <= MAX_DRAINED_BYTES;
  if (!isShort) response.setHeader('Connection', 'close');
  rejections[Math.floor(Math.random() * rejections.length)]?.send(response);
}
