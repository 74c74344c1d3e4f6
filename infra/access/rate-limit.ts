// Limits on how often something may happen within a minute, for each user or for each network of clients. With Redis,
// all processes count together; without it, or while it is away, each process counts by itself.
import type { Redis } from 'ioredis';
import { LRUCache } from 'lru-cache';
import { RateLimiterMemory, RateLimiterRedis, type RateLimiterRes } from 'rate-limiter-flexible';
import { RateLimited, type RateLimitName, type RateLimitPolicy, WINDOW_SECONDS } from './rejections.ts';

/**
 * Keys that a limit holds in memory, about 30 MB if all are in use. One more makes it forget the one that was counted
 * the longest time ago: a client with very many addresses gains no memory, and attempts only as it does by having them.
 */
export const MAX_KEYS = 50_000;

export interface RateLimitOptions extends RateLimitPolicy {
  /** Undefined: this process counts by itself. The caller ends the connection. */
  readonly redis?: Redis | undefined;
  /** Of every key in Redis. */
  readonly prefix: string;
  readonly onRejected: (name: RateLimitName) => void;
}

export class RateLimit {
  readonly #options: RateLimitOptions;
  readonly #memory: BoundedMemory;
  readonly #shared: RateLimiterRedis | undefined;
  /** When the windows end of the keys that have nothing left, by this process's monotonic clock. */
  readonly #exhausted = new LRUCache<string, number>({ max: MAX_KEYS });

  constructor(options: RateLimitOptions) {
    this.#options = options;
    const { name, perMinute, redis, prefix } = options;
    const counting = { points: perMinute, duration: WINDOW_SECONDS };
    this.#memory = new BoundedMemory(counting);
    this.#shared =
      redis &&
      new RateLimiterRedis({
        ...counting,
        storeClient: redis,
        keyPrefix: `${prefix}:limit:${name}`,
        rejectIfRedisNotReady: true,
      });
  }

  /**
   * Throws RateLimited if this process knows that `key` has nothing left. It costs a lookup and never waits for Redis;
   * what other processes have counted, this one learns when it counts next.
   */
  requireRest(key: string): void {
    const resetMs = (this.#exhausted.get(key) ?? 0) - performance.now();
    if (resetMs > 0) throw this.#rejection(resetMs);
  }

  /** Counts one. Rejects with RateLimited if that is one too many. */
  async count(key: string): Promise<void> {
    this.requireRest(key);
    const { perMinute } = this.#options;
    const { consumedPoints, msBeforeNext } = await this.#counted(key);
    if (consumedPoints >= perMinute) this.#exhausted.set(key, performance.now() + msBeforeNext);
    if (consumedPoints > perMinute) throw this.#rejection(msBeforeNext);
  }

  /** A limiter's own insurance would hide the error, and with it a connection that no longer responds. */
  async #counted(key: string): Promise<RateLimiterRes> {
    if (!this.#shared) return this.#memory.penalty(key);
    try {
      return await this.#shared.penalty(key);
    } catch (error) {
      this.#renewConnection(error);
      return this.#memory.penalty(key);
    }
  }

  /**
   * Without a connection, a count fails at once. So only the requests that are waiting when Redis falls silent are
   * delayed: no other one waits until it responds again.
   */
  #renewConnection(error: unknown): void {
    const { redis } = this.#options;
    const isReply = error instanceof Error && error.name === 'ReplyError'; // the connection works
    const isEnding = redis?.status !== 'ready' || !redis.stream.writable;
    if (!isReply && !isEnding) redis.disconnect(true);
  }

  #rejection(resetMs: number): RateLimited {
    this.#options.onRejected(this.#options.name);
    return new RateLimited(this.#options, resetMs);
  }
}

/** Counts in memory. A key is deleted when its minute is over, or sooner if there are more than MAX_KEYS. */
class BoundedMemory extends RateLimiterMemory {
  readonly #recent = new LRUCache<string, true>({
    max: MAX_KEYS,
    noDisposeOnSet: true,
    dispose: (_true, key) => void this.delete(key),
  });

  override penalty(key: string): Promise<RateLimiterRes> {
    this.#recent.set(key, true);
    return super.penalty(key);
  }
}
