// The services in processes of their own, on existing servers: in a database that is created and dropped, and under a
// prefix of its own on the brokers, so that other systems on them are not affected. Only `kill -9` of this command leaves
// these behind; the processes end even then.
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { ServiceName } from '../../contracts/services.ts';
import { redactUrl } from '../../infra/runtime/settings.ts';
import type { Environment } from '../shared/child-process.ts';
import { CliError, messageOf } from '../shared/errors.ts';
import { type SluiceProcess, SluiceProcesses } from '../shared/sluice-processes.ts';
import { note } from '../shared/terminal.ts';
import type { OutageSystem } from './system.ts';
import { type Brokers, forgetNames } from './tidy.ts';

type Services = readonly [ServiceName, ...ServiceName[]];
/** The flash sale consumes events of orders but is not watched, so it shares a process. */
const processServices: readonly Services[] = [['order', 'flash-sale'], ['points'], ['coupon'], ['notify']];

/** The order service needs a payment provider. No order is paid here, and no real provider may be called. */
const NO_PROVIDER = 'http://127.0.0.1:1';

export async function startSeparate(
  servers: Environment & Brokers & { readonly DATABASE_URL: string },
  { kill, signal }: { readonly kill: boolean; readonly signal: AbortSignal },
): Promise<OutageSystem> {
  const name = `sluice_outage_${randomBytes(6).toString('hex')}`;
  const prefix = name.replaceAll('_', '-');
  const processes = await SluiceProcesses.open('outage');
  const close = async () => {
    await attempt('the processes', () => processes.close());
    await attempt('the names on the brokers', () => forgetNames(servers, prefix));
    await attempt(`the database ${name}`, () =>
      administer(servers.DATABASE_URL, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
    );
  };
  const database = new URL(servers.DATABASE_URL);
  database.pathname = `/${name}`;
  const env = { ...servers, DATABASE_URL: database.href, BUS_PREFIX: prefix, PORT: '0', PAYMENT_URL: NO_PROVIDER };
  const started = new Map<ServiceName, SluiceProcess>();
  const start = async (services: Services) => {
    started.set(services[0], await processes.start(services, env, signal));
  };
  const processOf = (service: ServiceName): SluiceProcess => {
    const found = started.get(service === 'flash-sale' ? 'order' : service);
    if (!found) throw new RangeError(`${service} was not started`);
    return found;
  };
  try {
    await administer(servers.DATABASE_URL, `CREATE DATABASE ${name}`);
    const starts = await Promise.allSettled(processServices.map(start));
    const failed = starts.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
    return {
      shape: `a process for each service, on ${busOf(servers)}`,
      prefix,
      urlOf: (service) => processOf(service).url,
      stop: (service) => processOf(service).end(kill ? 'SIGKILL' : 'SIGTERM'),
      start: (service) => start([service]),
      broken: processes.broken,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const busOf = ({ AMQP_URL, EVENT_BUS }: Environment): string =>
  AMQP_URL ? 'RabbitMQ and PostgreSQL' : EVENT_BUS === 'mqtt' ? 'MQTT and PostgreSQL' : 'PostgreSQL';

async function administer(databaseUrl: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {}); // a broken connection fails the query
  try {
    await client.connect();
    await client.query(sql);
  } catch (error) {
    throw new CliError(`${redactUrl(databaseUrl)}: ${sql}: ${messageOf(error)}`, { cause: error });
  } finally {
    await client.end().catch(() => {});
  }
}

/** Reports a failure without hiding the error that led here. */
async function attempt(what: string, work: () => Promise<void>): Promise<void> {
  await work().catch((error) => note(`not removed: ${what}: ${messageOf(error)}`));
}
