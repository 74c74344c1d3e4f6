// A private RabbitMQ with its MQTT plugin, on the loopback interface, apart from any instance of the system's: with
// node name, cookie, folder and port mapper of its own. Or several that form a cluster.
import { randomUUID } from 'node:crypto';
import { amqpAnswers, mqttAnswers } from './answers.ts';
import { startEpmd } from './epmd.ts';
import { freePort } from './ports.ts';
import { findPrograms } from './programs.ts';
import { containerNode, type Node, type Ports, password, processNode, user } from './rabbitmq-node.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from './server.ts';

export interface Rabbitmq extends LocalServer {
  readonly amqpUrl: string;
  readonly mqttUrl: string;
  /** Runs `rabbitmqctl` against it and returns what it printed, without headings; rejects when that fails. Takes one to two seconds. */
  ctl(...args: string[]): Promise<string>;
}

export async function startRabbitmq(): Promise<Rabbitmq> {
  const [node] = await startRabbitmqCluster(1);
  if (!node) throw new Error('a cluster of one has one node');
  return node;
}

/** Each node is stopped by itself. More than one need RabbitMQ's programs on this machine. */
export const startRabbitmqCluster = (size: number): Promise<Rabbitmq[]> =>
  retryWithOtherPorts(async () => {
    const programs = await findPrograms('rabbitmq');
    if (programs.kind === 'installed') return startNodes(programs.folder, size);
    if (size > 1) throw new Error("a cluster needs RabbitMQ's programs on this machine (Debian: rabbitmq-server)");
    const ports = await freePorts();
    return [await startNode(ports, await containerNode(programs.engine, ports))];
  });

async function startNodes(programs: string, size: number): Promise<Rabbitmq[]> {
  const epmd = await startEpmd();
  const erlang = { programs, epmdPort: epmd.port, cookie: randomUUID() };
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
    answers: async () => {
      await amqpAnswers(amqpUrl);
      await mqttAnswers(mqttUrl);
    },
    cleanSignal: 'SIGTERM',
  });
  return Object.assign(server, { amqpUrl, mqttUrl, ctl });
}
