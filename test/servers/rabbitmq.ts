// A private RabbitMQ with its MQTT plugin, or a cluster of several, on the loopback interface. It has its own node
// name, cookie, folder and port mapper, apart from any instance of the system.
import { randomUUID } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { containerEngine } from './container-runner.ts';
import { startEpmd } from './epmd.ts';
import { freePort } from './ports.ts';
import { findPrograms } from './programs.ts';
import { inRoot, rabbitmq4Root } from './rabbitmq-4.ts';
import { containerNode, type Erlang, type Node, type Ports, password, processNode, user } from './rabbitmq-node.ts';
import { amqpReady, mqttReady } from './readiness.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from './server.ts';

export interface Rabbitmq extends LocalServer {
  readonly amqpUrl: string;
  readonly mqttUrl: string;
  /** Runs `rabbitmqctl` on it and returns the output without headings. Takes one to two seconds. */
  ctl(...args: string[]): Promise<string>;
}

export interface RabbitmqOptions {
  /** Default: the value of TEST_RABBITMQ, else any installed version. See findRabbitmq4. */
  readonly version?: 4 | undefined;
  /** Plugins besides MQTT, and further lines of the configuration. They require RabbitMQ's programs on this machine. */
  readonly plugins?: readonly string[];
  readonly settings?: readonly string[];
}

export async function startRabbitmq(options: RabbitmqOptions = {}): Promise<Rabbitmq> {
  const [node] = await startRabbitmqCluster(1, options);
  if (!node) throw new Error('a cluster of one has one node');
  return node;
}

/** Each node is stopped separately. More than one node requires RabbitMQ's programs on this machine. */
export const startRabbitmqCluster = (size: number, options: RabbitmqOptions = {}): Promise<Rabbitmq[]> =>
  retryWithOtherPorts(async () => {
    const { version = process.env.TEST_RABBITMQ === '4' ? 4 : undefined, plugins = [], settings = [] } = options;
    const programs = await (version === 4 ? findRabbitmq4() : findPrograms('rabbitmq'));
    if (programs.kind !== 'container') return startNodes(programs, size, { plugins, settings });
    if (size > 1 || plugins.length > 0 || settings.length > 0)
      throw new Error("this requires RabbitMQ's programs on this machine (Debian: rabbitmq-server)");
    const ports = await freePorts();
    return [await startNode(ports, await containerNode(programs.engine, ports))];
  });

type Installed = { readonly kind: 'installed'; readonly folder: string };
type Unpacked = { readonly kind: 'unpacked'; readonly root: string };
type Container = { readonly kind: 'container'; readonly engine: string };

/**
 * RabbitMQ 4: the installed one if it is not older, else Debian 13's packages unpacked, else a container. Otherwise
 * rejects with how to get it.
 */
export async function findRabbitmq4(): Promise<Installed | Unpacked | Container> {
  const programs = await findPrograms('rabbitmq');
  // On Debian and with Homebrew, the version is part of the real path of the programs.
  if (programs.kind === 'installed') {
    const path = await realpath(join(programs.folder, 'rabbitmq-server'));
    if (Number(/rabbitmq(?:_server)?[-/](\d+)\./.exec(path)?.[1]) >= 4) return programs;
  }
  try {
    return { kind: 'unpacked', root: await rabbitmq4Root() };
  } catch (cause) {
    const engine = await containerEngine();
    if (engine) return { kind: 'container', engine };
    const why = cause instanceof Error ? cause.message.trim() : String(cause);
    throw new Error(`RabbitMQ 4 is missing (${why}): install it, or docker, or run as root on Debian`, { cause });
  }
}

async function startNodes(
  programs: Installed | Unpacked,
  size: number,
  configured: Pick<Erlang, 'plugins' | 'settings'>,
): Promise<Rabbitmq[]> {
  const command = (program: string): [string, ...string[]] =>
    programs.kind === 'unpacked' ? inRoot(programs.root, program) : [join(programs.folder, program)];
  const epmd = await startEpmd(programs.kind === 'unpacked' ? command('epmd') : ['epmd']);
  const erlang = { command, epmdPort: epmd.port, cookie: randomUUID(), ...configured };
  const names = Array.from({ length: size }, () => `sluice-${randomUUID()}@localhost`);
  const inUse = new Set(names);
  const nodes: Rabbitmq[] = [];
  try {
    for (const name of names) {
      const ports = await freePorts();
      const onRemoved = async () => {
        inUse.delete(name);
        if (inUse.size === 0) await epmd.stop();
      };
      const node = await startNode(ports, await processNode(erlang, name, ports, onRemoved));
      nodes.push(node);
      if (name === names[0]) continue;
      await node.ctl('stop_app');
      await node.ctl('join_cluster', String(names[0]));
      await node.ctl('start_app');
    }
    return nodes;
  } catch (error) {
    for (const node of nodes) await node.stop();
    await epmd.stop();
    throw error;
  }
}

const freePorts = async (): Promise<Ports> => ({ amqp: await freePort(), mqtt: await freePort() });

async function startNode(ports: Ports, { runner, ctl }: Node): Promise<Rabbitmq> {
  const amqpUrl = `amqp://${user}:${password}@127.0.0.1:${ports.amqp}`;
  const mqttUrl = `mqtt://${user}:${password}@127.0.0.1:${ports.mqtt}`;
  const server = await startServer({
    name: 'RabbitMQ',
    runner,
    ready: async () => {
      await amqpReady(amqpUrl);
      await mqttReady(mqttUrl);
    },
    cleanSignal: 'SIGTERM',
  });
  return Object.assign(server, { amqpUrl, mqttUrl, ctl });
}
