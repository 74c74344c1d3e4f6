// The limits of access control, as the settings say.
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { RateLimit } from '../../infra/access/rate-limit.ts';
import type { RateLimitPolicy } from '../../infra/access/rejections.ts';
import type { Metrics } from '../../infra/observability/metrics.ts';
import { connectionOptions, serverOptions } from '../../infra/queue/redis-connection.ts';
import type { Shutdown } from '../../infra/runtime/shutdown.ts';
import type { AccessSettings } from './settings.ts';

/** How long a request may wait for its count. A Redis nearby takes less than a millisecond. */
const REDIS_TIMEOUT_MS = 250;

export type LimitSettings = Pick<AccessSettings, 'USER_ORDERS_PER_MINUTE' | 'AUTH_FAILURES_PER_MINUTE'> & {
  readonly REDIS_URL?: string | undefined;
  readonly BUS_PREFIX: string;
};

export interface LimitContext {
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Ends the connection to Redis. */
  readonly shutdown: Pick<Shutdown, 'add'>;
}

/** Undefined: no limit. */
export interface Limits {
  /** On the orders and purchases of a user. */
  readonly orders: RateLimit | undefined;
  /** On the invalid tokens from a network. */
  readonly failures: RateLimit | undefined;
}

export async function openLimits(settings: LimitSettings, { metrics, log, shutdown }: LimitContext): Promise<Limits> {
  const { USER_ORDERS_PER_MINUTE, AUTH_FAILURES_PER_MINUTE, REDIS_URL, BUS_PREFIX: prefix } = settings;
  const isLimited = USER_ORDERS_PER_MINUTE > 0 || AUTH_FAILURES_PER_MINUTE > 0;
  const redis = REDIS_URL !== undefined && isLimited ? await connect(REDIS_URL, log) : undefined;
  if (redis) shutdown.add(async () => redis.disconnect());
  const limit = (policy: RateLimitPolicy) =>
    policy.perMinute === 0
      ? undefined
      : new RateLimit({ ...policy, redis, prefix, onRejected: (name) => metrics.rateLimited.inc({ limit: name }) });
  return {
    orders: limit({ name: 'user', perMinute: USER_ORDERS_PER_MINUTE, what: 'orders and purchases of a user' }),
    failures: limit({ name: 'address', perMinute: AUTH_FAILURES_PER_MINUTE, what: 'invalid tokens from an address' }),
  };
}

/** Connects in the background. While Redis is away, every command fails at once. */
async function connect(url: string, log: Logger): Promise<Redis> {
  const { Redis } = await import('ioredis'); // a process without REDIS_URL does not need it
  const redis = new Redis({
    ...serverOptions(url),
    ...connectionOptions,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: REDIS_TIMEOUT_MS,
  });
  let isAway = false;
  redis.on('error', ({ message }) => {
    if (!isAway) log.warn({ error: message }, 'Redis is away: this process counts its limits by itself');
    isAway = true;
  });
  redis.on('ready', () => {
    isAway = false;
  });
  return redis;
}
