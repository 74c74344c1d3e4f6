// The private servers of the experiment, and how a way finds its own.
import { startPostgres } from '../../test/servers/postgres.ts';
import { startRabbitmq } from '../../test/servers/rabbitmq.ts';
import { startRedis } from '../../test/servers/redis.ts';
import { type LocalServer, ServerGroup } from '../../test/servers/server.ts';
import { rabbitmqVersion } from './rabbitmq.ts';
import { redisVersion } from './redis-counter.ts';
import { postgresVersion } from './row.ts';
import type { WayName } from './ways.ts';

interface Server extends LocalServer {
  readonly url: string;
}

export interface Servers {
  readonly rabbitmq: Server;
  readonly redis: Server;
  readonly postgres: Server;
  /** Names and versions. */
  readonly versions: readonly string[];
  of(way: WayName): Server;
  stop(): Promise<void>;
}

/** Rejects, with all of them ended again, where one does not start. */
export async function startServers(): Promise<Servers> {
  const started = new ServerGroup();
  const start = async <S extends LocalServer>(starting: Promise<S>, url: (server: S) => string) => {
    const server = started.add(await starting);
    return Object.assign(server, { url: url(server) });
  };
  const stop = () => started.stop();
  try {
    const rabbitmq = await start(startRabbitmq(), ({ amqpUrl }) => amqpUrl);
    const redis = await start(startRedis(), ({ redisUrl }) => redisUrl);
    const postgres = await start(startPostgres(), ({ url }) => url);
    const of = (way: WayName) => (way.startsWith('rabbitmq') ? rabbitmq : way.startsWith('row') ? postgres : redis);
    const versions = [rabbitmqVersion(rabbitmq.url), redisVersion(redis.url), postgresVersion(postgres.url)];
    return { rabbitmq, redis, postgres, versions: await Promise.all(versions), of, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
