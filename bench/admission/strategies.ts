// The strategies that are compared, by name: main process and gateways find them here.
import { lengthLimit } from './rabbitmq.ts';
import { checkThenAdd, redisCounter } from './redis.ts';
import { row, rowOneByOne } from './row.ts';
import type { Strategy } from './strategy.ts';

export type ServerName = 'rabbitmq' | 'redis' | 'postgres';

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
} as const satisfies Record<string, Strategy & { title: string; server: ServerName }>;

export type StrategyName = keyof typeof strategies;
