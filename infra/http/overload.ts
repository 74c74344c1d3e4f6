// Overload control: a guard in front of the application that rejects requests of one kind, cheaply and before any work,
// where too many are under way or the event loop is late. What is accepted is then answered in bounded time however
// many come; what is rejected costs a small part of an answer.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { CALM_MS, LatenessLimit, LoopLateness } from './lateness.ts';
import { unavailable, WrittenProblem } from './problem.ts';

/**
 * How long a request may have waited for the event loop. Above what some hundred connections make of a process that is
 * still being compiled, the embedded database's statements among it; below what a person at a shop takes for a fault.
 */
const MAX_LATENESS_MS = 500;

/**
 * Guarded requests under way in one process. They wait for the next group commit: at some thousand decisions a second
 * half a second's worth. What is over it would only wait longer, and hold memory meanwhile.
 */
const MAX_IN_FLIGHT = 2_000;

/** Lateness that is over within this time is a burst or a pause (garbage collection), and nobody is rejected for it. */
export const TOLERATED_MS = 500;

/** The loop's turns are told apart to within this. Small against any sensible lateness, large against a timer's cost. */
const TICK_MS = 10;

/** The rest of a body up to this size is read and thrown away; for a longer one, closing the connection costs less. */
const MAX_DRAINED_BYTES = 16 * 1024;

/** Guarded bodies are small. One that does not come in this time would keep its place from others. */
const BODY_WITHIN_MS = 5_000;

export interface OverloadGuardOptions {
  /** Which requests may be rejected. Called for every request, so it must be cheap. */
  readonly applies: (request: IncomingMessage) => boolean;
  /** Default MAX_IN_FLIGHT. */
  readonly maxInFlight?: number;
  /** Default MAX_LATENESS_MS. */
  readonly maxLatenessMs?: number;
  /** Default TOLERATED_MS. */
  readonly toleratedMs?: number;
  /** Default BODY_WITHIN_MS. */
  readonly bodyWithinMs?: number;
}

export interface RejectionCounts {
  /** Because maxInFlight were under way. */
  readonly inFlight: number;
  readonly late: number;
}

/** One for each Retry-After, so that those who are rejected together do not come back together. */
const answers = [1, 2, 3].map(
  (seconds) => new WrittenProblem(unavailable('Too many requests at once. Try again.', seconds)),
);

export class OverloadGuard {
  readonly #applies: (request: IncomingMessage) => boolean;
  readonly #maxInFlight: number;
  readonly #bodyWithinMs: number;
  readonly #limit: LatenessLimit;
  readonly #loop = new LoopLateness(performance.now());
  readonly #rejected = { inFlight: 0, late: 0 };
  #inFlight = 0;
  #ticking: NodeJS.Timeout | undefined;
  #lastRequestAt = 0;

  constructor(options: OverloadGuardOptions) {
    this.#applies = options.applies;
    this.#maxInFlight = options.maxInFlight ?? MAX_IN_FLIGHT;
    this.#bodyWithinMs = options.bodyWithinMs ?? BODY_WITHIN_MS;
    this.#limit = new LatenessLimit(
      options.maxLatenessMs ?? MAX_LATENESS_MS,
      options.toleratedMs ?? TOLERATED_MS,
      performance.now(),
    );
  }

  /** Guarded requests that were handed on and are not answered. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Since the start. */
  get rejected(): RejectionCounts {
    return { ...this.#rejected };
  }

  /** How long a request that is handled now may have waited for the event loop. Undefined while no guarded ones come. */
  get latenessMs(): number | undefined {
    return this.#ticking ? this.#loop.at(performance.now()) : undefined;
  }

  /** A listener that rejects or hands on. One guard may stand before several listeners: they share its limits. */
  guard(listener: RequestListener): RequestListener {
    return (request, response) => {
      if (!this.#applies(request)) return listener(request, response);
      const now = performance.now();
      this.#lastRequestAt = now;
      this.#keepTime(now);
      if (this.#inFlight >= this.#maxInFlight) {
        this.#rejected.inFlight++;
        return reject(request, response);
      }
      if (!this.#limit.accepts(this.#loop.at(now), now)) {
        this.#rejected.late++;
        return reject(request, response);
      }
      this.#enter(request, response);
      listener(request, response);
    };
  }

  /** Ends the timer, which ends by itself a moment after the last guarded request. */
  stop(): void {
    clearInterval(this.#ticking);
    this.#ticking = undefined;
  }

  #enter(request: IncomingMessage, response: ServerResponse): void {
    this.#inFlight++;
    const late = setTimeout(() => {
      if (!request.complete) request.destroy();
    }, this.#bodyWithinMs);
    response.once('close', () => {
      this.#inFlight--;
      clearTimeout(late);
    });
  }

  /** The loop is watched only while guarded requests come: an idle process is not woken. */
  #keepTime(now: number): void {
    if (this.#ticking) return;
    this.#loop.reset(now);
    this.#limit.reset(now);
    this.#ticking = setInterval(() => {
      const tick = performance.now();
      this.#loop.tick(tick);
      this.#limit.observe(this.#loop.at(tick));
      if (tick - this.#lastRequestAt > CALM_MS) this.stop();
    }, TICK_MS);
  }
}

/**
 * Answers 503 without reading the body into memory. A short body is thrown away by node:http once the answer is sent,
 * and the connection goes on; after a long one, or one of unknown length, it ends.
 */
function reject(request: IncomingMessage, response: ServerResponse): void {
  const { headers } = request;
  const short =
    headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) <= MAX_DRAINED_BYTES;
  if (!short) response.setHeader('Connection', 'close');
  answers[Math.floor(Math.random() * answers.length)]?.send(response);
}
