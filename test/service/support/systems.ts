// The shapes of the system under test: all services embedded in one process, a process for each service (two for
// orders) on RabbitMQ, PostgreSQL and Mosquitto, and several flash-sale gateways on one database.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServiceName, serviceNames } from '../../../contracts/services.ts';
import type { Environment } from '../../../demos/shared/child-process.ts';
import {
  type Arguments,
  createServiceProcess,
  type ServiceProcess,
  sluice,
} from '../../fault/support/service-process.ts';
import type { ServerUrls } from '../../servers/find.ts';
import { startPaymentsInside } from '../../setup/payments.ts';
import { newPglite } from '../../setup/pglite.ts';
import { freshDatabase } from '../../setup/postgres.ts';
import { freshPrefix } from '../../setup/wait.ts';

export interface System {
  readonly prefix: string;
  /** The MQTT broker that carries notifications. */
  readonly mqttUrl: string;
  /** Undefined if the database is inside the process. */
  readonly databaseUrl?: string;
  /** The data folder of an embedded system. */
  readonly dataDir?: string;
  /** The processes that serve this service over HTTP; at least one. */
  processes(service: ServiceName): ServiceProcess[];
  /** The URL of a process that serves this service over HTTP. */
  url(service: ServiceName): string;
  /** A process that handles this service's messages: the same one, unless the roles are apart. */
  worker(service: ServiceName): ServiceProcess;
  /** Stops the system and removes its data. */
  remove(): Promise<void>;
}

export interface Shape {
  readonly name: string;
  /** Whether its servers are available. */
  readonly available: boolean;
  /** Whether no process runs all services, so that some can be stopped while others run. */
  readonly separate: boolean;
  /** Resolves when the system is ready. */
  readonly start: (env?: Environment) => Promise<System>;
}

export const embedded: Shape = {
  name: 'embedded in one process',
  available: true,
  separate: false,
  start: withFreePorts(async (env = {}) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'sluice-data-'));
    await newPglite(join(dataDir, 'database'));
    const prefix = freshPrefix();
    const process = await createServiceProcess('sluice', sluice(), {
      DATA_DIR: dataDir,
      MQTT_PORT: '0',
      BUS_PREFIX: prefix,
      ...env,
    });
    const remove = async () => {
      await process.remove();
      await rm(dataDir, { recursive: true });
    };
    await startOr(remove, [process]);
    return {
      prefix,
      mqttUrl: `${process.url.replace('http', 'ws')}/mqtt`,
      dataDir,
      processes: () => [process],
      url: () => process.url,
      worker: () => process,
      remove,
    };
  }),
};

export interface ServerOptions {
  /** The event bus. Default: rabbitmq. */
  readonly bus?: 'rabbitmq' | 'local';
  /** The backend of the paced queues. Default: the database. */
  readonly pace?: 'redis' | 'database';
}

/** `processes`: the arguments of each process. */
export const onServers = (
  name: string,
  { databaseUrl, amqpUrl, mosquittoUrl, redisUrl }: ServerUrls,
  processes: readonly Arguments[],
  { bus = 'rabbitmq', pace = 'database' }: ServerOptions = {},
): Shape => ({
  name,
  available:
    databaseUrl !== undefined &&
    mosquittoUrl !== undefined &&
    (bus === 'local' || amqpUrl !== undefined) &&
    (pace === 'database' || redisUrl !== undefined),
  separate: processes.every((args) => serviceNames.some((service) => !args.includes(service))),
  start: withFreePorts(async (env = {}) => {
    const database = await freshDatabase(String(databaseUrl));
    const payments = await startPaymentsInside();
    const prefix = freshPrefix();
    const common = {
      DATABASE_URL: database.url,
      ...(bus === 'rabbitmq' ? { AMQP_URL: String(amqpUrl) } : {}),
      ...(pace === 'redis' ? { REDIS_URL: String(redisUrl) } : {}),
      MQTT_URL: String(mosquittoUrl),
      PAYMENT_URL: payments.url,
      BUS_PREFIX: prefix,
      ...env,
    };
    const started = await Promise.all(
      processes.map(async (args) => ({
        args,
        process: await createServiceProcess(args.join('-'), sluice(...args), common),
      })),
    );
    const remove = async () => {
      await Promise.all(started.map(({ process }) => process.remove()));
      await payments.stop();
      await database.drop();
    };
    const isWeb = ({ args }: { args: Arguments }) => !args.includes('--role=worker');
    await startOr(
      remove,
      started.map(({ process }) => process),
      {
        SERVICES_URL: started
          .filter(isWeb)
          .map(({ process }) => process.url)
          .join(','),
      },
    );
    const running = (service: ServiceName, other: Arguments[number]) =>
      started.filter(({ args }) => args.includes(service) && !args.includes(other)).map(({ process }) => process);
    return {
      prefix,
      mqttUrl: String(mosquittoUrl),
      databaseUrl: database.url,
      processes: (service) => running(service, '--role=worker'),
      url: (service) => String(running(service, '--role=worker')[0]?.url),
      worker: (service) => running(service, '--role=web')[0] as ServiceProcess,
      remove,
    };
  }),
});

export const separateProcesses = (servers: ServerUrls): Shape =>
  onServers('separate processes on RabbitMQ, PostgreSQL and Mosquitto', servers, [
    ['order'],
    ['order'],
    ...serviceNames.filter((name) => name !== 'order').map((name) => [name]),
  ]);

/** All services in one process, but only their HTTP side; the work behind it in another. */
export const rolesApart = (servers: ServerUrls): Shape =>
  onServers('web and worker apart on RabbitMQ, PostgreSQL and Mosquitto', servers, [
    [...serviceNames, '--role=web'],
    [...serviceNames, '--role=worker'],
  ]);

const workflow = serviceNames.filter((name) => name !== 'flash-sale');

/** Two flash-sale gateways and a process for the other services, on a database only. */
export const gatewaysOnPostgres = (servers: ServerUrls): Shape =>
  onServers('two gateways on PostgreSQL', servers, [workflow, ['flash-sale'], ['flash-sale']], { bus: 'local' });

/** Four flash-sale gateways, with queues in Redis. */
export const gatewaysOnRedis = (servers: ServerUrls): Shape =>
  onServers(
    'four gateways on Redis, RabbitMQ and PostgreSQL',
    servers,
    [workflow, ...Array.from({ length: 4 }, (): ServiceName[] => ['flash-sale'])],
    { pace: 'redis' },
  );

/** Starts all processes. If one fails, removes the system and throws with the end of their output. */
async function startOr(
  remove: () => Promise<void>,
  processes: readonly ServiceProcess[],
  env: Environment = {},
): Promise<void> {
  try {
    await Promise.all(processes.map((process) => process.start(env)));
  } catch (error) {
    const outputs = await Promise.all(processes.map((process) => process.output()));
    await remove();
    throw new Error(`${String(error)}\n${outputs.map((output) => output.slice(-1_000)).join('\n')}`, { cause: error });
  }
}

/** Starts once more if another program took a chosen port before its use. */
function withFreePorts(start: Shape['start']): Shape['start'] {
  return (env) =>
    start(env).catch((error) => {
      if (String(error).includes(' is in use: ')) return start(env);
      throw error;
    });
}
