// The servers that tests and benchmarks share. A server without a URL in the environment is started here: from
// installed programs, else from Debian's packages, else in a container.
import { startMosquitto } from './mosquitto.ts';
import { startPostgres } from './postgres.ts';
import { ServerMissing } from './programs.ts';
import { startRabbitmq } from './rabbitmq.ts';
import { startRedis } from './redis.ts';
import { type LocalServer, ServerGroup } from './server.ts';

export interface ServerUrls {
  databaseUrl?: string;
  amqpUrl?: string;
  rabbitMqttUrl?: string;
  mosquittoUrl?: string;
  /** Redis or Valkey. */
  redisUrl?: string;
}

export interface SharedServers {
  readonly urls: ServerUrls;
  /** One line for each missing server, with how to get it. */
  readonly missing: readonly string[];
  /** Stops the servers that were started here. */
  stop(): Promise<void>;
}

/** Starts all servers at once. If one that is available does not start, stops the others and rejects. */
export async function findServers(): Promise<SharedServers> {
  const { TEST_DATABASE_URL, TEST_AMQP_URL, TEST_RABBITMQ_MQTT_URL, TEST_MQTT_URL, TEST_REDIS_URL } = process.env;
  const urls: ServerUrls = {};
  const missing: string[] = [];
  const started = new ServerGroup();
  const start = async <Server extends LocalServer>(starter: () => Promise<Server>, use: (server: Server) => void) => {
    try {
      use(started.add(await starter()));
    } catch (error) {
      if (!(error instanceof ServerMissing)) throw error;
      missing.push(error.message);
    }
  };

  const starting: Promise<void>[] = [];
  if (TEST_DATABASE_URL) urls.databaseUrl = TEST_DATABASE_URL;
  else starting.push(start(startPostgres, (server) => Object.assign(urls, { databaseUrl: server.url })));

  if (TEST_MQTT_URL) urls.mosquittoUrl = TEST_MQTT_URL;
  else starting.push(start(startMosquitto, (server) => Object.assign(urls, { mosquittoUrl: server.mqttUrl })));

  if (TEST_REDIS_URL) urls.redisUrl = TEST_REDIS_URL;
  else starting.push(start(startRedis, ({ redisUrl }) => Object.assign(urls, { redisUrl })));

  if (TEST_AMQP_URL) {
    urls.amqpUrl = TEST_AMQP_URL;
    if (TEST_RABBITMQ_MQTT_URL) urls.rabbitMqttUrl = TEST_RABBITMQ_MQTT_URL;
    else missing.push("RabbitMQ's MQTT plugin is missing: beside TEST_AMQP_URL set TEST_RABBITMQ_MQTT_URL");
  } else {
    starting.push(
      start(startRabbitmq, ({ amqpUrl, mqttUrl }) => Object.assign(urls, { amqpUrl, rabbitMqttUrl: mqttUrl })),
    );
  }

  const failed = (await Promise.allSettled(starting)).find((result) => result.status === 'rejected');
  if (failed) {
    await started.stop();
    throw failed.reason;
  }
  return { urls, missing, stop: () => started.stop() };
}
