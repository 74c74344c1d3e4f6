// AMQP_URL: each node of the cluster.
import { narrowed, subscriptions } from '../../contracts/services.ts';
import { inspectRabbitmq } from '../../infra/bus/rabbitmq/check.ts';
import { parseAmqpUrls } from '../../infra/bus/rabbitmq/url.ts';
import { redactUrl, splitUrls } from '../../infra/runtime/server-url.ts';
import type { Config } from '../config.ts';
import type { Target } from './report.ts';

export function rabbitmqTargets({ AMQP_URL: list, BUS_PREFIX: prefix }: Config): Target[] {
  if (!list) return [];
  const topology = { prefix, groups: subscriptions, narrowed };
  return splitUrls(list).flatMap((url) =>
    parseAmqpUrls(url).map((node) => ({
      variable: 'AMQP_URL',
      server: redactUrl(url.trim()),
      check: async (signal: AbortSignal) => {
        const found = await inspectRabbitmq(node, topology, signal);
        const facts = [`quorum queues and exchanges named ${prefix}.*, messages of 64 KiB`];
        return { ...found, facts: found.problems.length > 0 ? [] : facts };
      },
    })),
  );
}
