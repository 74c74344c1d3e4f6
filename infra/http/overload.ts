// Overload control: a guard in front of the application rejects sheddable requests cheaply, before any work, when too
// many are in flight or the event loop lags. An accepted request gets its response in bounded time, however many come;
// a rejection costs a small part of a response.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { CALM_MS, EventLoopLag, LoadShedder } from './event-loop-lag.ts';
import { unavailable, WrittenProblem } from './problem.ts';

/**
 * How long a request may have waited for the event loop. More than some hundred connections cause in a process that is
 * still being compiled and runs the embedded database; less than a shopper takes for a fault.
 */
const MAX_LAG_MS = 500;

/**
 * Sheddable requests in flight in one process. They wait for the next group commit: at some thousand decisions a second
 * this is half a second's work. More of them would only wait longer and hold memory.
 */
const MAX_IN_FLIGHT = 2_000;

/** Lag that ends within this time is a burst or a pause (garbage collection), and no request is rejected for it. */
export const TOLERATED_MS = 500;

/**
 * Resolution at which turns of the loop are told apart. Small against MAX_LAG_MS, large against the cost of a timer.
 */
const TICK_MS = 10;

/** The rest of a body up to this size is read and discarded; for a longer one, closing the connection costs less. */
const MAX_DRAINED_BYTES = 16 * 1024;

/** Sheddable bodies are small. A body that takes longer would occupy a slot that other requests need. */
const BODY_WITHIN_MS = 5_000;

export interface OverloadGuardOptions {
  /** Whether a request may be rejected. Called for every request, so it must be cheap. */
  readonly isSheddable: (request: IncomingMessage) => boolean;
  /** Default MAX_IN_FLIGHT. */
  readonly maxInFlight?: number;
  /** Default MAX_LAG_MS. */
  readonly maxLagMs?: number;
  /** Default TOLERATED_MS. */
  readonly toleratedMs?: number;
  /** Default BODY_WITHIN_MS. */
  readonly bodyWithinMs?: number;
}

/** Rejected requests by reason. */
export interface RejectionCounts {
  /** maxInFlight requests were in flight. */
  readonly inFlight: number;
  /** The event loop lagged. */
  readonly lag: number;
}

/** One for each Retry-After, so that clients that are rejected together do not return together. */
const rejections = [1, 2, 3].map(
  (seconds) => new WrittenProblem(unavailable('Too many requests at once. Try again.', seconds)),
);

export class OverloadGuard {
  readonly #isSheddable: (request: IncomingMessage) => boolean;
  readonly #maxInFlight: number;
  readonly #bodyWithinMs: number;
  readonly #shedder: LoadShedder;
  readonly #lag = new EventLoopLag(performance.now());
  readonly #rejected = { inFlight: 0, lag: 0 };
  #inFlight = 0;
  #timer: NodeJS.Timeout | undefined;
  #lastRequestAt = 0;

  constructor(options: OverloadGuardOptions) {
    const { isSheddable, maxInFlight = MAX_IN_FLIGHT, bodyWithinMs = BODY_WITHIN_MS } = options;
    const { maxLagMs = MAX_LAG_MS, toleratedMs = TOLERATED_MS } = options;
    this.#isSheddable = isSheddable;
    this.#maxInFlight = maxInFlight;
    this.#bodyWithinMs = bodyWithinMs;
    this.#shedder = new LoadShedder(maxLagMs, toleratedMs, performance.now());
  }

  /** Sheddable requests that were accepted and have no response yet. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Since the start. */
  get rejected(): RejectionCounts {
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
    return (request, response) => {
      if (!this.#isSheddable(request)) return listener(request, response);
      const now = performance.now();
      this.#lastRequestAt = now;
      this.#startTimer(now);
      if (this.#inFlight >= this.#maxInFlight) {
        this.#rejected.inFlight++;
        return reject(request, response);
      }
      if (!this.#shedder.accepts(this.#lag.at(now), now)) {
        this.#rejected.lag++;
        return reject(request, response);
      }
      this.#enter(request, response);
      listener(request, response);
    };
  }

  /** Stops the timer, which also stops by itself CALM_MS after the last sheddable request. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #enter(request: IncomingMessage, response: ServerResponse): void {
    this.#inFlight++;
    const bodyTimeout = setTimeout(() => {
      if (!request.complete) request.destroy();
    }, this.#bodyWithinMs);
    response.once('close', () => {
      this.#inFlight--;
      clearTimeout(bodyTimeout);
    });
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
