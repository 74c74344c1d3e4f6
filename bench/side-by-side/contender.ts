// The ways to run the workflow that are compared, each in processes of its own on private servers: Sluice, and the
// peers of bench/peers, a package of its own.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import amqp from 'amqplib';
import { serverFolder } from '../../demos/shared/folder.ts';
import { note } from '../../demos/shared/terminal.ts';
import { freePort } from '../../test/servers/ports.ts';
import { startPostgres } from '../../test/servers/postgres.ts';
import { processRunner } from '../../test/servers/process-runner.ts';
import { startRabbitmq } from '../../test/servers/rabbitmq.ts';
import { type LocalServer, ServerGroup, startServer } from '../../test/servers/server.ts';
import { readCompleted } from '../metrics.ts';
import { type Query, readCounts } from '../stored-totals.ts';
import { queryPostgres, System } from '../system.ts';
import { using } from '../using.ts';

export const contenders = ['sluice', 'nest', 'plain'] as const;
export type ContenderName = (typeof contenders)[number];

export interface Contender {
  /** The URL of `POST /orders`. */
  readonly url: string;
  readonly pids: Readonly<Record<string, number>>;
  /** The process that handles points. */
  readonly consumer: LocalServer;
  /** Orders whose three steps are recorded as done. */
  completed(): Promise<number>;
  /** Counted in the stored rows, at the end: it may stop the services. */
  losses(): Promise<Record<Loss, number>>;
  remove(): Promise<void>;
}

/** Orders, and of those the ones that never complete; effects that are missing, and effects beyond one for an order. */
export type Loss = 'orders' | 'incomplete' | 'lost' | 'doubled';

const lossesOf = (query: Query, orders: string, incomplete: string, effects: readonly string[]) => {
  const sum = (each: (table: string) => string) => effects.map((table) => `(${each(table)})`).join(' + ');
  const missing = (table: string) =>
    `SELECT count(*) FROM ${orders} o WHERE NOT EXISTS (SELECT FROM ${table} e WHERE e.order_id = o.id)`;
  const doubled = (table: string) => `SELECT count(*) - count(DISTINCT order_id) FROM ${table}`;
  const counts = `SELECT (SELECT count(*) FROM ${orders}) AS orders, (${incomplete}) AS incomplete,
    ${sum(missing)} AS lost, ${sum(doubled)} AS doubled`;
  return readCounts(query, counts) as Promise<Record<Loss, number>>;
};

export const startContender = (name: ContenderName): Promise<Contender> =>
  name === 'sluice' ? startSluice() : startPeer(name);

async function startSluice(): Promise<Contender> {
  const system = await System.start('separate');
  return {
    url: system.url,
    pids: system.pids,
    consumer: system.processOf('points').server,
    completed: async () => (await readCompleted(system)).completed,
    losses: async () => {
      const incomplete = "SELECT count(*) FROM sluice_order.progress WHERE status <> 'completed'";
      const effects = ['sluice_points.entries', 'sluice_coupon.decisions', 'sluice_notify.notifications'];
      const read = (query: Query) => lossesOf(query, 'sluice_order.orders', incomplete, effects);
      return (await system.stopServices(read)).stored;
    },
    remove: () => system.remove(),
  };
}

const PEERS = new URL('../peers/', import.meta.url);
const parts = ['order', 'points', 'coupon', 'notification'] as const;
const INCOMPLETE = 'SELECT count(*) FROM orders WHERE NOT (points AND coupon AND notification)';

async function startPeer(name: ContenderName): Promise<Contender> {
  const group = new ServerGroup();
  try {
    const postgres = group.add(await startPostgres());
    const rabbitmq = group.add(await startRabbitmq());
    const schema = await readFile(new URL('schema.sql', PEERS), 'utf8');
    await queryPostgres(postgres.url, (query) => query(schema));
    const servers = { DATABASE_URL: postgres.url, AMQP_URL: rabbitmq.amqpUrl };
    const port = await freePort();
    const processes: Record<string, LocalServer> = {};
    for (const part of parts) processes[part] = group.add(await startPart(name, part, { ...servers, PORT: `${port}` }));
    const { points: consumer } = processes;
    if (!consumer) throw new Error('no process handles points');
    const all = Object.entries({ ...processes, postgres, rabbitmq });
    const query = <T>(read: (query: Query) => Promise<T>) => queryPostgres(postgres.url, read);
    return {
      url: `http://127.0.0.1:${port}`,
      pids: Object.fromEntries(all.map(([of, { pid = 0 }]) => [of, pid])),
      consumer,
      completed: async () => {
        const counts = await query((run) =>
          readCounts(run, `SELECT count(*) - (${INCOMPLETE}) AS completed FROM orders`),
        );
        return counts.completed ?? 0;
      },
      losses: () => query((run) => lossesOf(run, 'orders', INCOMPLETE, ['points', 'coupons', 'notifications'])),
      remove: () => group.stop(),
    };
  } catch (error) {
    await group.stop();
    throw error;
  }
}

/** `part`: of the workflow; the process of `order` listens on PORT. */
async function startPart(name: string, part: string, env: Record<'AMQP_URL' | 'PORT', string>): Promise<LocalServer> {
  const runner = await processRunner(await serverFolder(`bench-${name}-${part}`), {
    command: process.execPath,
    args: ['--import', import.meta.resolve('tsx'), fileURLToPath(new URL(`${name}/main.ts`, PEERS)), part],
    env: {
      PATH: process.env.PATH ?? '',
      NODE_ENV: 'production',
      TSX_TSCONFIG_PATH: fileURLToPath(new URL('tsconfig.json', PEERS)),
      ...env,
    },
  });
  const ready = () =>
    part === 'order' ? responds(`http://127.0.0.1:${env.PORT}/readyz`) : consumes(env.AMQP_URL, part);
  return startServer({ name: `${name} ${part}`, runner, ready, cleanSignal: 'SIGTERM' });
}

async function responds(url: string): Promise<void> {
  const { status } = await fetch(url);
  if (status !== 200) throw new Error(`${url} responded with ${status}`);
}

const consumes = (amqpUrl: string, queue: string): Promise<void> =>
  using(
    amqp.connect(amqpUrl),
    (connection) => connection.close(),
    async (connection) => {
      const channel = await connection.createChannel();
      channel.on('error', () => {}); // the queue does not exist yet: the call rejects, too
      const { consumerCount } = await channel.checkQueue(queue);
      if (consumerCount === 0) throw new Error(`nothing consumes ${queue}`);
    },
  );

/** The peers are not installed with the rest, because only this comparison needs them. */
export function installPeers(): void {
  // npm writes this file when it is done.
  if (existsSync(new URL('node_modules/.package-lock.json', PEERS))) return;
  note('installing the peers (NestJS and others) in bench/peers …');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
    cwd: fileURLToPath(PEERS),
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new Error('npm ci failed in bench/peers');
}
