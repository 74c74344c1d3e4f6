// The strategies that are compared, by name: main process and gateways find them here.
import { checkThenAdd } from './check-then-add.ts';
import { lengthLimit } from './rabbitmq.ts';
import { redisCounter } from './redis-counter.ts';
import { row, rowOneByOne } from './row.ts';
import type { Strategy } from './strategy.ts';

export type ServerName = 'rabbitmq' | 'redis' | 'postgres';

interface Compared extends Strategy {
  readonly title: string;
  readonly server: ServerName;
}

export const strategies = {
  'rabbitmq-quorum': {
    title: 'RabbitMQ, quorum queue, reject-publish',
    server: 'rabbitmq',
    ...lengthLimit('quorum'),
  },
  'rabbitmq-classic': {
    title: 'RabbitMQ, classic queue, reject-publish',
    server: 'rabbitmq',
    ...lengthLimit('classic'),
  },
  'check-then-add': { title: 'BullMQ, count and then add', server: 'redis', ...checkThenAdd },
  'redis-counter': { title: 'Redis, counter in a script', server: 'redis', ...redisCounter },
  row: { title: "PostgreSQL, the sale's row, group commit", server: 'postgres', ...row },
  'row-one-by-one': { title: "PostgreSQL, the sale's row, one by one", server: 'postgres', ...rowOneByOne },
} as const satisfies Record<string, Compared>;

export type StrategyName = keyof typeof strategies;
