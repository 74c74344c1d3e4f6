// Members of the importing file's group (group.ts). No bus delivers to them: tests call their inboxes or write rows.
import type { Subscription } from '../../infra/bus/port.ts';
import type { Health } from '../../infra/runtime/health.ts';
import type { BusProcess } from './bus-fixtures.ts';
import { cleanUps } from './clean-ups.ts';
import { database, group } from './group.ts';
import { GroupConsumer, type GroupConsumerOptions } from './group-consumer.ts';
import { placed } from './outgoing-events.ts';

const topology = { prefix: 'none', groups: { points: ['order.placed'] } };

/** Joins the group. The member leaves it after the test. */
export async function join(options: GroupConsumerOptions = {}): Promise<GroupConsumer> {
  const idle: Subscription = {
    health: (): Health => ({ status: 'up' }),
    backlog: async () => 0,
    rebuild: async () => {},
    close: async () => {},
  };
  const peer = { bus: { subscribe: async () => idle }, database } as unknown as BusProcess;
  const member = await GroupConsumer.join(peer, topology, group, options);
  cleanUps.push(() => member.close());
  return member;
}

/** The row of a message. */
export async function status(id: string) {
  const [row] = await database.query<{ status: string; attempts: number; error: string | null }>(
    `SELECT status, attempts, error FROM ${group.schema}.inbox WHERE message_id = $1`,
    [id],
  );
  return row;
}

/** Inserts the row of a message whose process died during its nth attempt. */
export async function insertUnfinished(id: string, attempts: number): Promise<void> {
  await database.execute(
    `INSERT INTO ${group.schema}.inbox (message_id, type, status, body, attempts, claimed_until)
     VALUES ($1, 'order.placed', 'pending', decode($2, 'base64'), $3, now() - interval '1 s')`,
    [id, placed(id).toString('base64'), attempts],
  );
}
