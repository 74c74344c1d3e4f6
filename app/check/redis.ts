// REDIS_URL
import { pino } from 'pino';
import { redactUrl } from '../../infra/runtime/server-url.ts';
import type { Config } from '../config.ts';
import type { Findings, Target } from './report.ts';

const REMOVE_WITHIN_MS = 1_000;

export function redisTargets({ REDIS_URL: url, BUS_PREFIX: prefix }: Config): Target[] {
  if (!url) return [];
  return [{ variable: 'REDIS_URL', server: redactUrl(url.trim()), check: (signal) => checkRedis(url, prefix, signal) }];
}

async function checkRedis(url: string, prefix: string, signal: AbortSignal): Promise<Findings> {
  const { RedisBackend } = await import('../../infra/queue/redis.ts');
  const { infoField } = await import('../../infra/queue/redis-check.ts');
  const backend = new RedisBackend(url, prefix, pino({ level: 'silent' }));
  let ending: NodeJS.Timeout | undefined;
  // Until then, a server that responds lets it remove its keys.
  const endLater = () => {
    ending = setTimeout(() => void backend.close(), REMOVE_WITHIN_MS);
  };
  signal.addEventListener('abort', endLater);
  try {
    const { info, clockDifferenceMs, fault } = await backend.inspect();
    const valkey = infoField(info, 'valkey_version');
    const redis = infoField(info, 'redis_version');
    const policy = infoField(info, 'maxmemory_policy');
    const limit = Number(infoField(info, 'maxmemory') ?? 0);
    const memory = limit > 0 ? `at most ${Math.round(limit / 1024 / 1024)} MiB` : 'no memory limit';
    return {
      version: valkey ? `Valkey ${valkey}` : redis && `Redis ${redis}`,
      facts: fault ? [] : [`keys ${prefix}:*`, memory],
      clockDifferenceMs,
      warnings:
        limit > 0 && policy !== 'noeviction'
          ? [
              `when it is full it removes jobs (${policy}), which are added again later: set maxmemory-policy noeviction`,
            ]
          : [],
      problems: fault ? [fault.reason] : [],
    };
  } finally {
    signal.removeEventListener('abort', endLater);
    clearTimeout(ending);
    await backend.close();
  }
}
