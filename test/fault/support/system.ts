// Services in separate processes on servers that they share, or all of them in one process with nothing beside it.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type ServiceName, serviceNames } from '../../../contracts/services.ts';
import type { Environment } from '../../../demos/shared/child-process.ts';
import { freePort } from '../../servers/ports.ts';
import { NO_PAYMENTS } from '../../setup/payments.ts';
import { freshDatabase } from '../../setup/postgres.ts';
import { freshPrefix } from '../../setup/wait.ts';
import { createServiceProcess, type ServiceProcess, sluice } from './service-process.ts';

const settings = {
  // Short, so that what waits for them is soon over.
  LEASE_MS: '3000',
  PUBLISH_TIMEOUT_MS: '1000',
  RETRY_BASE_MS: '200',
  // No resends unless a test sets it: they would repair, and so hide, a loss.
  RESEND_AFTER_MS: '3600000',
};

export interface SystemOptions {
  /** The system gets a database of its own on this server. */
  readonly postgresUrl: string | undefined;
  readonly mqttUrl: string | undefined;
  /** Left out: the MQTT broker carries the events. */
  readonly amqpUrl?: string | undefined;
  /** The services of each process; unless told otherwise each has its own. */
  readonly processes?: readonly (readonly ServiceName[])[];
  readonly env?: Environment;
}

export interface System {
  readonly databaseUrl: string;
  readonly prefix: string;
  /** What every process was started with. */
  readonly env: Environment;
  readonly processes: readonly ServiceProcess[];
  /** The first process that runs this service. */
  process(service: ServiceName): ServiceProcess;
}

/** Everything runs when this resolves, and ends with the test. */
export async function startSystem(options: SystemOptions): Promise<System> {
  const { postgresUrl, mqttUrl, amqpUrl, processes = serviceNames.map((name) => [name]) } = options;
  if (!postgresUrl || !mqttUrl)
    throw new Error('PostgreSQL or Mosquitto is missing: the end of the run says how to get it');
  const database = await freshDatabase(postgresUrl);
  onTestFinished(() => database.drop());
  const prefix = freshPrefix();
  const common = {
    ...settings,
    DATABASE_URL: database.url,
    MQTT_URL: mqttUrl,
    PAYMENT_URL: NO_PAYMENTS,
    BUS_PREFIX: prefix,
    ...(amqpUrl ? { AMQP_URL: amqpUrl } : { EVENT_BUS: 'mqtt' }),
    ...options.env,
  };
  const all = await Promise.all(
    processes.map((services) => processOfTest(services.join('-'), sluice(...services), common)),
  );
  await Promise.all(all.map((each) => each.start()));
  return {
    databaseUrl: database.url,
    prefix,
    env: common,
    processes: all,
    process: (service) => all[processes.findIndex((services) => services.includes(service))] as ServiceProcess,
  };
}

export interface Embedded {
  readonly dataDir: string;
  readonly process: ServiceProcess;
}

/** Everything in one process and one folder. Not started yet; both end with the test. */
export async function createEmbedded(env: Environment): Promise<Embedded> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-data-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  const mqttPort = String(await freePort());
  const process = await processOfTest('embedded', sluice(), {
    ...settings,
    DATA_DIR: dataDir,
    MQTT_PORT: mqttPort,
    ...env,
  });
  return { dataDir, process };
}

/** A process that ends with the test; where the test failed, its last words are shown. */
export async function processOfTest(name: string, args: readonly string[], env: Environment): Promise<ServiceProcess> {
  const created = await createServiceProcess(name, args, env);
  onTestFinished(async ({ task }) => {
    if (task.result?.state === 'fail') {
      const lines = (await created.output()).split('\n').filter((line) => line !== '' && !line.includes('"level":30'));
      const last = lines.slice(-10).map((line) => line.slice(0, 300));
      console.error([`${name}, its last warnings:`, ...last].join('\n'));
    }
    await created.remove();
  });
  return created;
}
