// The ways that are compared, by name: main process and gateways find them here.
import { checkThenAdd } from './check-then-add.ts';
import { lengthLimit } from './rabbitmq.ts';
import { redisCounter } from './redis-counter.ts';
import { row, rowOneByOne } from './row.ts';
import type { Way } from './way.ts';

export const ways = {
  'rabbitmq-quorum': lengthLimit('quorum'),
  'rabbitmq-classic': lengthLimit('classic'),
  'check-then-add': checkThenAdd,
  'redis-counter': redisCounter,
  row,
  'row-one-by-one': rowOneByOne,
} as const satisfies Record<string, Way>;

export type WayName = keyof typeof ways;
export const wayNames = Object.keys(ways) as WayName[];

export const titles: Readonly<Record<WayName, string>> = {
  'rabbitmq-quorum': 'RabbitMQ, quorum queue, reject-publish',
  'rabbitmq-classic': 'RabbitMQ, classic queue, reject-publish',
  'check-then-add': 'BullMQ, count and then add',
  'redis-counter': 'Redis, counter in a script',
  row: "PostgreSQL, the sale's row, group commit",
  'row-one-by-one': "PostgreSQL, the sale's row, one by one",
};
