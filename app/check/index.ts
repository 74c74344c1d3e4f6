// `sluice check`: every server that the configuration names, in parallel. Each check uses the server as a start would,
// under names of its own, and removes what it has created.
import { parseConfig } from '../config.ts';
import { dataDirTargets } from './data-dir.ts';
import { databaseTargets } from './database.ts';
import { mqttTargets } from './mqtt.ts';
import { paymentTargets } from './payment.ts';
import { rabbitmqTargets } from './rabbitmq.ts';
import { redisTargets } from './redis.ts';
import { type CheckReport, examine, withoutPrimary } from './report.ts';

/**
 * `onDone` is called after each server. Throws a ConfigError if the configuration is not allowed. Otherwise rejects only
 * with the signal's reason.
 */
export async function checkServers(
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
  onDone: (done: number, total: number) => void = () => undefined,
): Promise<CheckReport> {
  const config = parseConfig(env);
  const targets = [
    ...databaseTargets(config),
    ...rabbitmqTargets(config),
    ...mqttTargets(config),
    ...redisTargets(config),
    ...paymentTargets(config),
    ...dataDirTargets(config),
  ];
  // Loading BullMQ takes long and would delay the replies of all servers. It is not needed without a server.
  if (config.DATABASE_URL || config.REDIS_URL) await import('../../infra/queue/index.ts');
  let done = 0;
  const examined = targets.map(async (target) => {
    const report = await examine(target, signal);
    onDone(++done, targets.length);
    return report;
  });
  const servers = withoutPrimary(await Promise.all(examined));
  return { ok: servers.every(({ status }) => status !== 'failed'), servers };
}
