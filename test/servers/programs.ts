// Finds the programs of a server: installed, else from Debian's package, else in a container image.
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { containerEngine } from './container-runner.ts';
import { canInstall, installPackage } from './debian.ts';

export type ServerName =
  | 'rabbitmq'
  | 'postgres'
  | 'pgbouncer'
  | 'mosquitto'
  | 'mosquitto_sub'
  | 'redis'
  | 'nginx'
  | 'promtool';

/** The location of a server's programs: a folder of this machine that contains `program`, or a container image. */
export type Programs =
  | { readonly kind: 'installed'; readonly folder: string; readonly program: string }
  | { readonly kind: 'container'; readonly engine: string };

/** This machine cannot run the server; the message says how to get it. */
export class ServerMissing extends Error {
  constructor(name: ServerName, cause?: unknown) {
    const { title, debianPackage, variable } = known[name];
    const why = cause instanceof Error ? ` (${cause.message.trim()})` : '';
    const orSet = variable === undefined ? '' : ` or set ${variable}`;
    super(`${title} is missing${why}: install it (Debian: apt-get install ${debianPackage})${orSet}`, { cause });
    this.name = 'ServerMissing';
  }
}

/** Debian keeps PostgreSQL's server programs outside the PATH, one folder per version. Newest first. */
function debianPostgresFolders(): string[] {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return [];
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(root, version, 'bin'));
}

const path = () => (process.env.PATH ?? '').split(delimiter);

const known = {
  rabbitmq: {
    title: 'RabbitMQ',
    programs: ['rabbitmq-server'],
    // Before the PATH, which has Debian's wrapper that changes to the user of the system's own instance.
    folders: () => ['/usr/lib/rabbitmq/bin', ...path(), '/opt/homebrew/sbin', '/usr/local/sbin'],
    debianPackage: 'rabbitmq-server',
    variable: 'TEST_AMQP_URL',
  },
  postgres: {
    title: 'PostgreSQL',
    programs: ['initdb'],
    folders: () => [...debianPostgresFolders(), ...path()],
    debianPackage: 'postgresql',
    variable: 'TEST_DATABASE_URL',
  },
  pgbouncer: {
    title: 'PgBouncer',
    programs: ['pgbouncer'],
    folders: () => ['/usr/sbin', ...path(), '/opt/homebrew/bin', '/usr/local/bin'],
    debianPackage: 'pgbouncer',
    variable: undefined,
  },
  mosquitto: {
    title: 'Mosquitto',
    programs: ['mosquitto'],
    folders: () => ['/usr/sbin', ...path(), '/opt/homebrew/sbin', '/usr/local/sbin'],
    debianPackage: 'mosquitto',
    variable: 'TEST_MQTT_URL',
  },
  mosquitto_sub: {
    title: 'mosquitto_sub',
    programs: ['mosquitto_sub'],
    folders: path,
    debianPackage: 'mosquitto-clients',
    variable: undefined,
  },
  redis: {
    title: 'Redis or Valkey',
    programs: ['valkey-server', 'redis-server'],
    folders: () => [...path(), '/usr/bin', '/opt/homebrew/bin', '/usr/local/bin'],
    debianPackage: 'redis-server',
    variable: 'TEST_REDIS_URL',
  },
  nginx: {
    title: 'nginx',
    programs: ['nginx'],
    folders: () => [...path(), '/usr/sbin', '/opt/homebrew/bin', '/usr/local/sbin'],
    debianPackage: 'nginx-light',
    variable: undefined,
  },
  promtool: {
    title: "Prometheus' promtool",
    programs: ['promtool'],
    folders: () => [...path(), '/opt/homebrew/bin', '/usr/local/bin'],
    debianPackage: 'prometheus',
    variable: undefined,
  },
} as const;

function installed(name: ServerName): Programs | undefined {
  const { folders, programs } = known[name];
  for (const folder of folders()) {
    const program = programs.find((candidate) => existsSync(join(folder, candidate)));
    if (program !== undefined) return { kind: 'installed', folder, program };
  }
  return undefined;
}

/** Rejects with ServerMissing. */
export async function findPrograms(name: ServerName): Promise<Programs> {
  const here = installed(name);
  if (here) return here;
  let cause: unknown;
  if (canInstall()) {
    try {
      await installPackage(known[name].debianPackage);
      const now = installed(name);
      if (now) return now;
    } catch (error) {
      cause = error;
    }
  }
  const engine = await containerEngine();
  if (engine) return { kind: 'container', engine };
  throw new ServerMissing(name, cause);
}
