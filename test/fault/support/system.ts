// Services in separate processes on shared servers, or all services embedded in one process.
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
import { rolesApart } from './roles-apart.ts';
import { type Arguments, createServiceProcess, type ServiceProcess, sluice } from './service-process.ts';

const settings = {
  // Short, because tests wait for them.
  LEASE_MS: '3000',
  PUBLISH_TIMEOUT_MS: '1000',
  RETRY_BASE_MS: '200',
  // Nothing is resent unless a test sets this: a resend would hide a loss.
  RESEND_AFTER_MS: '3600000',
};

/** Whether both roles of a service share a process, or each has one. */
export type Roles = 'apart' | 'together';
export const eitherRoles: readonly Roles[] = ['apart', 'together'];

/** The name of a fault in the report. */
export const faultWith = (roles: Roles, fault: string) => (roles === 'apart' ? fault : `${fault}, roles together`);

export interface SystemOptions {
  /** The server on which the system gets a database of its own. */
  readonly postgresUrl: string | undefined;
  readonly mqttUrl: string | undefined;
  /** Without it, the MQTT broker carries the events. */
  readonly amqpUrl?: string | undefined;
  /** The services of each process. Default: a process for each service. */
  readonly processes?: readonly Arguments[];
  /** Of each process without a role. Default: apart, so that most faults hit a system with separate roles. */
  readonly roles?: Roles;
  readonly env?: Environment;
}

export interface System {
  readonly databaseUrl: string;
  readonly prefix: string;
  /** The environment of every process. */
  readonly env: Environment;
  readonly processes: readonly ServiceProcess[];
  /** The first process that runs this service. */
  process(service: ServiceName): ServiceProcess;
}

/** Resolves when all processes are ready. They end with the test. */
export async function startSystem(options: SystemOptions): Promise<System> {
  const { postgresUrl, mqttUrl, amqpUrl, processes = serviceNames.map((name) => [name]), roles = 'apart' } = options;
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
    processes.map(async (args) => {
      const create = (...all: Arguments) => processOfTest(all.join('-'), sluice(...all), common);
      const hasOneRole = args.some((each) => each.startsWith('--role='));
      if (roles === 'together' || hasOneRole) return create(...args);
      return rolesApart(await create(...args, '--role=web'), await create(...args, '--role=worker'));
    }),
  );
  await Promise.all(all.map((each) => each.start()));
  return {
    databaseUrl: database.url,
    prefix,
    env: common,
    processes: all,
    process: (service) => all[processes.findIndex((args) => args.includes(service))] as ServiceProcess,
  };
}

export interface Embedded {
  readonly dataDir: string;
  readonly process: ServiceProcess;
}

/** All services in one process and one folder, not started yet. Both end with the test. `nodeArgs`: before the program. */
export async function createEmbedded(env: Environment, nodeArgs: readonly string[] = []): Promise<Embedded> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-data-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  const mqttPort = String(await freePort());
  const process = await processOfTest('embedded', [...nodeArgs, ...sluice()], {
    ...settings,
    DATA_DIR: dataDir,
    MQTT_PORT: mqttPort,
    ...env,
  });
  return { dataDir, process };
}

/** A process that ends with the test. If the test fails, its last warnings are printed. */
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
