// The system in which an outage takes place: always a private one, never one in use. Anything without a URL runs
// embedded; with PostgreSQL and an MQTT broker, the services run in four processes.
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { parseConfig } from '../../app/config.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { onSomeServer } from '../../infra/database/postgres-connections.ts';
import { PostgresServers } from '../../infra/database/postgres-servers.ts';
import { SessionClient, sessionConfig } from '../../infra/database/postgres-session.ts';
import { parsePostgresUrl, withDatabase } from '../../infra/database/postgres-url.ts';
import { redactUrl } from '../../infra/runtime/server-url.ts';
import { ConfigError } from '../../infra/runtime/settings.ts';
import { type Environment, Supervisor } from '../shared/child-process.ts';
import { CliError, messageOf, USAGE_EXIT_CODE } from '../shared/errors.ts';
import { serverFolder } from '../shared/folder.ts';
import type { StepService } from '../shared/metrics.ts';
import { type SluiceProcess, sendRequest, startEmbedded, startProcess } from '../shared/sluice-processes.ts';
import { note } from '../shared/terminal.ts';
import { type Brokers, deleteBrokerObjects } from './tidy.ts';

export interface OutageSystem {
  /** Its shape in a few words. */
  readonly shape: string;
  /** The prefix of its queues and topics and, with underscores, its database's name; undefined if embedded. */
  readonly prefix?: string;
  /** The URL of a service. The order service's does not change. */
  readonly urlOf: (service: ServiceName) => string;
  stop(service: StepService): Promise<unknown>;
  /** Resolves when it is ready again. */
  start(service: StepService): Promise<unknown>;
  /** Aborts with a CliError when a process ends by itself. */
  readonly broken: AbortSignal;
  /** Ends all processes and removes everything that was created for them. */
  close(): Promise<void>;
}

interface SystemOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Ends the service's process by SIGKILL instead of SIGTERM. */
  readonly kill: boolean;
  /** Where an embedded system keeps its data; unset: in a folder that is removed. */
  readonly data: string | undefined;
  readonly signal: AbortSignal;
}

/** Rejects with a CliError if the environment or the options contradict each other. */
export async function startSystem({ env, kill, data, signal }: SystemOptions): Promise<OutageSystem> {
  const { DATABASE_URL, MQTT_URL, AMQP_URL, EVENT_BUS } = env;
  checkUrls({ DATABASE_URL, MQTT_URL, AMQP_URL });
  if (DATABASE_URL && MQTT_URL) {
    if (data !== undefined) throw usage('--data is for the embedded system: unset DATABASE_URL and MQTT_URL for that');
    const shared = { DATABASE_URL, MQTT_URL, ...(AMQP_URL && { AMQP_URL }), ...(EVENT_BUS && { EVENT_BUS }) };
    return startSeparate(shared, { kill, signal });
  }
  if (DATABASE_URL || MQTT_URL || AMQP_URL || EVENT_BUS)
    throw usage(
      'services in processes of their own need both DATABASE_URL and MQTT_URL, and AMQP_URL for RabbitMQ; unset all of them, and EVENT_BUS, for the embedded system',
    );
  if (kill) throw usage('--kill needs services in processes of their own: set DATABASE_URL and MQTT_URL');
  const dataDir = data === undefined ? undefined : resolve(data);
  const { process, broken, close } = await startEmbedded({ name: 'outage', dataDir, signal });
  return {
    shape: 'embedded, in one process',
    urlOf: () => process.url,
    stop: (service) => sendRequest(process.child, { action: 'stop', service }),
    start: (service) => sendRequest(process.child, { action: 'start', service }),
    broken,
    close,
  };
}

/** Before anything is created on the servers. */
function checkUrls(env: NodeJS.ProcessEnv): void {
  try {
    parseConfig(env);
  } catch (error) {
    throw error instanceof ConfigError ? usage(error.problems.join('\n')) : error;
  }
}

const usage = (message: string) => new CliError(message, { exitCode: USAGE_EXIT_CODE });

/** The flash sale consumes events of orders but is not watched, so it shares a process. */
const processes: readonly (readonly ServiceName[])[] = [['order', 'flash-sale'], ['points'], ['coupon'], ['notify']];

/** Creating and dropping a database takes seconds on a busy server. */
const STATEMENT_MS = 60_000;

/** The order service needs a payment provider. No order is paid here, and no real provider may be called. */
const NO_PROVIDER = 'http://127.0.0.1:1';

/**
 * The services in processes of their own, on existing servers: in a database that is created and dropped, and under a
 * prefix of its own on the brokers, so that other systems on them are not affected. Only `kill -9` of this command
 * leaves these behind; the processes end even then.
 */
async function startSeparate(
  servers: Environment & Brokers & { readonly DATABASE_URL: string },
  { kill, signal }: { readonly kill: boolean; readonly signal: AbortSignal },
): Promise<OutageSystem> {
  const name = `sluice_outage_${randomBytes(6).toString('hex')}`;
  const prefix = name.replaceAll('_', '-');
  const supervisor = await Supervisor.open(await serverFolder('outage'));
  const broken = new AbortController();
  const administer = (sql: string) => queryOnce(servers.DATABASE_URL, sql);
  const close = async () => {
    await attempt('the processes', supervisor.close());
    await attempt(`queues, exchanges and MQTT topics with the prefix ${prefix}`, deleteBrokerObjects(servers, prefix));
    await attempt(`the database ${name}`, administer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  };
  const env = {
    ...servers,
    DATABASE_URL: withDatabase(servers.DATABASE_URL, name),
    BUS_PREFIX: prefix,
    PORT: '0',
    PAYMENT_URL: NO_PROVIDER,
  };
  const started = new Map<ServiceName, SluiceProcess>();
  const start = async (services: readonly ServiceName[]) => {
    const process = await startProcess({ supervisor, services, env, signal, broken });
    for (const service of services) started.set(service, process);
  };
  const processOf = (service: ServiceName): SluiceProcess => {
    const found = started.get(service);
    if (!found) throw new RangeError(`${service} was not started`);
    return found;
  };
  try {
    await administer(`CREATE DATABASE ${name}`);
    const starts = await Promise.allSettled(processes.map(start));
    const failed = starts.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
    return {
      shape: `services in processes of their own, on ${busOf(servers)}`,
      prefix,
      urlOf: (service) => processOf(service).url,
      stop: (service) => processOf(service).child.end(kill ? 'SIGKILL' : 'SIGTERM'),
      start: (service) => start([service]),
      broken: broken.signal,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const busOf = ({ AMQP_URL, EVENT_BUS }: Environment): string =>
  AMQP_URL ? 'RabbitMQ and PostgreSQL' : EVENT_BUS === 'mqtt' ? 'MQTT and PostgreSQL' : 'PostgreSQL';

/** On the host of the list that accepts writes. */
async function queryOnce(databaseUrl: string, sql: string): Promise<void> {
  const servers = new PostgresServers(parsePostgresUrl(databaseUrl), 'sluice outage');
  const connect = async () => {
    const client = new SessionClient(sessionConfig(servers, STATEMENT_MS));
    client.on('error', () => {}); // a broken connection fails the query
    return client.connect();
  };
  try {
    const client = await onSomeServer(servers, connect);
    try {
      await client.query(sql);
    } finally {
      await client.end().catch(() => {});
    }
  } catch (error) {
    throw new CliError(`${redactUrl(databaseUrl)}: ${sql}: ${messageOf(error)}`, { cause: error });
  }
}

/** Reports a failure without hiding the error that led here. */
async function attempt(what: string, work: Promise<void>): Promise<void> {
  await work.catch((error) => note(`not removed: ${what}: ${messageOf(error)}`));
}
