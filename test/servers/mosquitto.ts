// A private Mosquitto on the loopback interface, without authentication or with the users of infra/deploy.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { serverFolder } from '../../demos/shared/folder.ts';
import { containerRunner } from './container-runner.ts';
import { freePort } from './ports.ts';
import { processRunner } from './process-runner.ts';
import { findPrograms } from './programs.ts';
import { mqttReady } from './readiness.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from './server.ts';

export interface Mosquitto extends LocalServer {
  readonly mqttUrl: string;
  /** What it has logged. */
  log(): Promise<string>;
}

export interface MosquittoOptions {
  /**
   * Mosquitto's default settings: sessions are saved every 30 minutes, and messages beyond 1,000 per client are
   * dropped. Without this option they are saved every second and may grow without limit.
   */
  readonly defaults?: boolean;
  /** Further lines of its configuration, such as `max_qos 1`. */
  readonly settings?: readonly string[];
}

export function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  return retryWithOtherPorts(async () => {
    const programs = await findPrograms('mosquitto');
    const port = await freePort();
    const runner = await (programs.kind === 'installed'
      ? installed(programs.folder, port, options)
      : inContainer(programs.engine, port, options));
    const mqttUrl = `mqtt://127.0.0.1:${port}`;
    const server = await startServer({
      name: 'Mosquitto',
      runner,
      ready: () => mqttReady(mqttUrl),
      cleanSignal: 'SIGTERM',
    });
    return Object.assign(server, { mqttUrl, log: () => runner.log() });
  });
}

const configuration = (listener: string, folder: string, { defaults = false, settings = [] }: MosquittoOptions) =>
  [
    `listener ${listener}`,
    'allow_anonymous true',
    'persistence true',
    `persistence_location ${folder}/`,
    ...(defaults ? [] : ['autosave_interval 1', 'max_queued_messages 0']),
    'log_dest stderr',
    ...settings,
  ].join('\n');

async function installed(programs: string, port: number, options: MosquittoOptions) {
  const folder = await serverFolder('mosquitto');
  return run(programs, folder, configuration(`${port} 127.0.0.1`, folder, options));
}

async function run(programs: string, folder: string, settings: string) {
  const file = join(folder, 'mosquitto.conf');
  // If root starts it, Mosquitto changes to a user of its own that may not write here.
  const user = process.getuid?.() === 0 ? '\nuser root\n' : '\n';
  await writeFile(file, settings + user);
  return processRunner(folder, { command: join(programs, 'mosquitto'), args: ['-c', file], env: {} });
}

const inContainer = (engine: string, port: number, options: MosquittoOptions) =>
  containerRunner({
    engine,
    image: 'docker.io/library/eclipse-mosquitto:2',
    ports: { [port]: 1883 },
    env: { CONFIGURATION: configuration('1883', '/mosquitto/data', options) },
    command: ['sh', '-c', 'echo "$CONFIGURATION" > /tmp/m.conf && exec mosquitto -c /tmp/m.conf'],
  });

export interface MosquittoWithUsers extends LocalServer {
  /** With the user `services`. */
  readonly servicesUrl: string;
  /** Without a user. */
  readonly usersUrl: string;
}

const SERVICES = 'services';

/** Configured by the files of infra/deploy, with these users and passwords. Requires Mosquitto's programs. */
export function startMosquittoWithUsers(users: Readonly<Record<string, string>>): Promise<MosquittoWithUsers> {
  return retryWithOtherPorts(async () => {
    const programs = await findPrograms('mosquitto');
    if (programs.kind !== 'installed') throw new Error("this requires Mosquitto's programs on this machine");
    const folder = await serverFolder('mosquitto');
    const [servicesPort, usersPort, password] = [await freePort(), await freePort(), randomUUID()];
    const passwords = join(folder, 'passwords');
    await writeFile(passwords, '', { mode: 0o600 });
    for (const [name, secret] of Object.entries({ ...users, [SERVICES]: password }))
      await promisify(execFile)('mosquitto_passwd', ['-b', passwords, name, secret]);
    const settings = (await deployed('mosquitto-users.conf'))
      .replace('/mosquitto/config/passwords', passwords)
      .replace('/mosquitto/config/mosquitto.acl', fileURLToPath(deployFile('mosquitto.acl')))
      .replace('/mosquitto/data', folder)
      .replace('listener 1883', `listener ${servicesPort} 127.0.0.1`)
      .replace('listener 1884', `listener ${usersPort} 127.0.0.1`);
    const servicesUrl = `mqtt://${SERVICES}:${password}@127.0.0.1:${servicesPort}`;
    const server = await startServer({
      name: 'Mosquitto',
      runner: await run(programs.folder, folder, settings),
      ready: () => mqttReady(servicesUrl),
      cleanSignal: 'SIGTERM',
    });
    return Object.assign(server, { servicesUrl, usersUrl: `mqtt://127.0.0.1:${usersPort}` });
  });
}

const deployFile = (name: string) => new URL(`../../infra/deploy/${name}`, import.meta.url);
const deployed = (name: string) => readFile(deployFile(name), 'utf8');
