// One RabbitMQ node: its configuration, and an environment that keeps it apart from the system's files.
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { serverFolder } from '../../demos/shared/folder.ts';
import { containerRunner } from './container-runner.ts';
import { freePort } from './ports.ts';
import { processRunner } from './process-runner.ts';
import type { Runner } from './server.ts';

const run = promisify(execFile);

// Not RabbitMQ's own user `guest`, which may connect only from the same machine, and so not to a container.
export const user = 'sluice';
export const password = 'sluice';

export interface Ports {
  readonly amqp: number;
  readonly mqtt: number;
}

export interface Node {
  readonly runner: Runner;
  readonly ctl: (...args: string[]) => Promise<string>;
}

/** Settings that the nodes of a cluster share. */
export interface Erlang {
  /** The command for one of RabbitMQ's programs. */
  readonly command: (program: string) => readonly [command: string, ...args: string[]];
  readonly epmdPort: number;
  /** The secret with which nodes and rabbitmqctl authenticate each other. */
  readonly cookie: string;
  /** Plugins besides MQTT, and further lines of the configuration. */
  readonly plugins: readonly string[];
  readonly settings: readonly string[];
}

const configuration = (host: string, ports: Ports, settings: readonly string[] = []) =>
  [
    `listeners.tcp.1 = ${host}:${ports.amqp}`,
    `mqtt.listeners.tcp.1 = ${host}:${ports.mqtt}`,
    `default_user = ${user}`,
    `default_pass = ${password}`,
    'log.console = true',
    'log.file = false',
    ...settings,
    '',
  ].join('\n');

/** `onRemoved` is called after the node is removed, possibly more than once. */
export async function processNode(
  erlang: Erlang,
  name: string,
  ports: Ports,
  onRemoved: () => Promise<void>,
): Promise<Node> {
  const { epmdPort, cookie, plugins, settings } = erlang;
  const [server, ...serverArgs] = erlang.command('rabbitmq-server');
  const [ctl, ...ctlArgs] = erlang.command('rabbitmqctl');
  const folder = await serverFolder('rabbitmq');
  const file = async (path: string, text: string, mode = 0o644) => {
    await writeFile(join(folder, path), text, { mode });
    return join(folder, path);
  };
  await file('.erlang.cookie', cookie, 0o400);
  const env = {
    PATH: process.env.PATH ?? '',
    LANG: 'C.UTF-8',
    HOME: folder, // Erlang reads the cookie here
    // For every Erlang that RabbitMQ's programs start: it would start a port mapper of its own if ours has just ended.
    ERL_AFLAGS: '-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}',
    ERL_EPMD_PORT: String(epmdPort),
    RABBITMQ_DIST_PORT: String(await freePort()),
    RABBITMQ_NODENAME: name,
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_CONFIG_FILE: await file('rabbitmq.conf', configuration('127.0.0.1', ports, settings)),
    RABBITMQ_ADVANCED_CONFIG_FILE: await file('advanced.config', '[].'),
    RABBITMQ_CONF_ENV_FILE: await file('rabbitmq-env.conf', ''),
    RABBITMQ_ENABLED_PLUGINS_FILE: await file('enabled_plugins', `[${['rabbitmq_mqtt', ...plugins]}].`),
  };
  const runner = await processRunner(folder, { command: server, args: serverArgs, env }, onRemoved);
  return {
    runner,
    ctl: async (...args) => (await run(ctl, [...ctlArgs, '--silent', '--node', name, ...args], { env })).stdout,
  };
}

export async function containerNode(engine: string, ports: Ports): Promise<Node> {
  const runner = await containerRunner({
    engine,
    image: 'docker.io/library/rabbitmq:4',
    ports: { [ports.amqp]: 5672, [ports.mqtt]: 1883 },
    env: { CONFIGURATION: configuration('0.0.0.0', { amqp: 5672, mqtt: 1883 }) },
    command: [
      'sh',
      '-c',
      'echo "$CONFIGURATION" > /etc/rabbitmq/conf.d/90-sluice.conf && rabbitmq-plugins enable --offline rabbitmq_mqtt && exec docker-entrypoint.sh rabbitmq-server',
    ],
  });
  return { runner, ctl: (...args) => runner.exec('rabbitmqctl', '--silent', ...args) };
}
