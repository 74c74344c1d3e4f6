// A cluster of three RabbitMQ nodes, killed one after the other: the system continues on the two others.
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Rabbitmq, startRabbitmqCluster } from '../servers/rabbitmq.ts';
import { eventually } from '../setup/wait.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { count, query } from './support/sql.ts';
import { startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
/** For one node; mostly the start of RabbitMQ. */
const KILL_MS = 60_000;
const servers = inject('servers');

let cluster: readonly Rabbitmq[] = [];
beforeAll(async () => {
  cluster = await startRabbitmqCluster(3);
}, 180_000);
afterAll(() => Promise.all(cluster.map((node) => node.stop())));

test(
  'delivers events while each node in turn is killed, and loses none',
  async () => {
    const schedule = newSchedule();
    const { processes, process, databaseUrl, prefix } = await startSystem({
      postgresUrl: servers.databaseUrl,
      mqttUrl: servers.mosquittoUrl,
      amqpUrl: cluster.map(({ amqpUrl }) => amqpUrl).join(','),
    });
    const pids = processes.map(({ pids }) => pids);
    const load = new Load({ urls: [process('order').url], schedule });
    await load.morePlaced(20);
    for (const [queue, members] of await membersOf(prefix)) expect(members, queue).toBe(3);
    // RabbitMQ 3.10 saves the position in a new queue's log with a delay, and loses confirmed messages if it is killed
    // before.
    for (const node of cluster) await node.ctl('eval', '[dets:sync(Table) || Table <- dets:all()].');

    for (let round = 0; round < rounds; round++) {
      for (const node of schedule.shuffled(cluster)) {
        await load.morePlaced(20);
        await schedule.runFor(0, 500);
        await node.kill();
        await load.morePlaced(10);
        const [last] = await query<{ id: string }>(databaseUrl, 'SELECT max(id::text) AS id FROM sluice_order.orders');
        const open = `sluice_order.progress WHERE order_id <= '${last?.id}' AND status NOT IN ('completed', 'cancelled')`;
        await eventually(async () => (await count(databaseUrl, open)) === 0, {
          what: 'all placed orders are completed while the node is away',
          timeoutMs: DONE_WITHIN_MS,
        });
        await node.restart();
        await eventually(() => allMembersRun(prefix), { what: 'the node is a member again', timeoutMs: 60_000 });
      }
    }
    const over = performance.now();
    const fault = 'each node of a RabbitMQ cluster killed in turn';
    const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
    expect(failed).toEqual([]);
    expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 201)).toEqual([]);
    expect(processes.map(({ pids }) => pids)).toEqual(pids);
  },
  60_000 + rounds * 3 * KILL_MS,
);

/** The number of nodes of each queue of the system. */
async function membersOf(prefix: string): Promise<[name: string, members: number][]> {
  return (await listQueues('members')).filter(([name]) => name.startsWith(prefix));
}

/** Whether every queue of the system runs on all nodes, so that the next one may be killed. */
async function allMembersRun(prefix: string): Promise<boolean> {
  const online = (await listQueues('online')).filter(([name]) => name.startsWith(prefix));
  return online.length > 0 && online.every(([, nodes]) => nodes === cluster.length);
}

async function listQueues(column: 'members' | 'online'): Promise<[name: string, nodes: number][]> {
  const [node] = cluster;
  const rows = JSON.parse((await node?.ctl('--formatter', 'json', 'list_queues', 'name', column)) ?? '[]') as Record<
    string,
    string | string[]
  >[];
  return rows.map((row) => [String(row.name), row[column]?.length ?? 0]);
}
