// Starts the system for an outage: always a private one, never one in use. Anything without a URL runs embedded; with
// PostgreSQL and an MQTT broker, each service is a process.
import { resolve } from 'node:path';
import { CliError, USAGE_EXIT_CODE } from '../shared/errors.ts';
import { startEmbedded } from '../shared/sluice-processes.ts';
import { startSeparate } from './separate.ts';
import type { OutageSystem } from './system.ts';

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
    stop: (service) => process.ask({ action: 'stop', service }),
    start: (service) => process.ask({ action: 'start', service }),
    broken,
    close,
  };
}

const usage = (message: string) => new CliError(message, { exitCode: USAGE_EXIT_CODE });
