// What one RabbitMQ node cannot do: declares a group of its own with the arguments of every group, sends a message of the
// largest size through it, and removes it. Then compares the queues that exist with what a start would declare.
import { randomUUID } from 'node:crypto';
import { type Channel, type ChannelModel, connect } from 'amqplib';
import { unlessAborted, within } from '../../runtime/promises.ts';
import { reasonOf } from '../../runtime/reason.ts';
import { MAX_EVENT_BYTES } from '../port.ts';
import { deadExchangeOf, deadQueueOf, exchangeOf, queueOf, type Topology } from '../topology.ts';
import { fieldsOf, socketOptionsOf } from './connect-options.ts';
import { rejectedVhost } from './connection.ts';
import { deadQueueOptions, declareGroup, queueOptions } from './declare.ts';
import { defaults } from './options.ts';
import type { AmqpServer } from './url.ts';

/** The oldest version whose quorum queues have at-least-once dead letters. */
const MIN_VERSION = [3, 10] as const;
/** How long the broker may take for each step; a slow one declares a quorum queue in a second. */
const STEP_MS = 5_000;
const GROUP = 'check';
const TYPE = 'check';

interface RabbitmqInspection {
  /** Such as `RabbitMQ 3.10.8`. */
  readonly version: string;
  /** One sentence each, with what to change. */
  readonly problems: readonly string[];
}

/** Rejects if no connection can be made, and when the signal aborts. */
export async function inspectRabbitmq(
  node: AmqpServer,
  topology: Topology,
  signal: AbortSignal,
): Promise<RabbitmqInspection> {
  // Node's sockets take a signal, which amqplib passes on and its types lack.
  const abandoned = new AbortController();
  const socket: object = { signal: abandoned.signal };
  const clientProperties = { connection_name: `${topology.prefix} check` };
  try {
    const connecting = connect(fieldsOf(node), { ...socketOptionsOf([node]), ...socket, clientProperties });
    const connection = await unlessAborted(signal, connecting).catch((error) => {
      throw rejectedVhost(error, node) ?? error;
    });
    const check = new RabbitmqCheck(connection, node, topology, signal);
    try {
      return await check.run();
    } finally {
      await check.close();
    }
  } finally {
    abandoned.abort();
  }
}

class RabbitmqCheck {
  readonly #connection: ChannelModel;
  readonly #node: AmqpServer;
  readonly #topology: Topology;
  readonly #signal: AbortSignal;
  /** A group that no other process knows. */
  readonly #own: Topology;
  #blocked: string | undefined;

  constructor(connection: ChannelModel, node: AmqpServer, topology: Topology, signal: AbortSignal) {
    this.#connection = connection;
    this.#node = node;
    this.#topology = topology;
    this.#signal = signal;
    this.#own = { prefix: `${topology.prefix}.check-${randomUUID()}`, groups: { [GROUP]: [TYPE] } };
    connection.on('error', () => undefined); // the calls that fail report it
    connection.on('blocked', (reason) => {
      this.#blocked = reason;
    });
  }

  async run(): Promise<RabbitmqInspection> {
    const { product = 'RabbitMQ', version = '' } = this.#connection.connection.serverProperties;
    const old = isTooOld(version);
    const problem = old ?? (await this.#tryGroup());
    const problems = problem === undefined ? await this.#conflicts() : [problem];
    return { version: `${product} ${version}`, problems };
  }

  /** Never rejects. */
  async close(): Promise<void> {
    await within(STEP_MS / 5, this.#connection.close()).catch(() => undefined);
  }

  /** The problem with a group's life, or undefined. */
  async #tryGroup(): Promise<string | undefined> {
    try {
      await this.#onChannel((channel) => declareGroup(channel, this.#own, GROUP, defaults.deliveryLimit));
      await this.#sendLargest();
      return undefined;
    } catch (error) {
      if (this.#signal.aborted) throw error;
      return this.#explained(error);
    } finally {
      await this.#removeGroup();
    }
  }

  async #sendLargest(): Promise<void> {
    const channel = await this.#step(this.#connection.createConfirmChannel());
    const closed = closedWith(channel);
    try {
      let returned = false;
      channel.on('return', () => {
        returned = true;
      });
      const content = Buffer.alloc(MAX_EVENT_BYTES, 'x');
      channel.publish(exchangeOf(this.#own), TYPE, content, { persistent: true, mandatory: true });
      await this.#step(Promise.race([channel.waitForConfirms(), closed]));
      if (returned) throw new Error('it returns a message whose queue exists');
      const message = await this.#step(Promise.race([channel.get(queueOf(this.#own, GROUP)), closed]));
      if (message) channel.ack(message);
      else throw new Error('it confirms a message and does not deliver it');
    } finally {
      channel.close().catch(() => undefined); // it is closed already
    }
  }

  async #removeGroup(): Promise<void> {
    const own = this.#own;
    const removals: ((channel: Channel) => Promise<unknown>)[] = [
      (channel) => channel.deleteQueue(queueOf(own, GROUP)),
      (channel) => channel.deleteQueue(deadQueueOf(own, GROUP)),
      (channel) => channel.deleteExchange(exchangeOf(own)),
      (channel) => channel.deleteExchange(deadExchangeOf(own)),
    ];
    const removeAll = async () => {
      // Each on a channel of its own, because a failure closes the channel.
      for (const remove of removals) await this.#onChannel(remove, { evenIfAborted: true }).catch(() => undefined);
    };
    await within(STEP_MS, removeAll()).catch(() => undefined);
  }

  /** The queues that exist with other arguments than a start would declare them with. */
  async #conflicts(): Promise<string[]> {
    const topology = this.#topology;
    const queues = Object.keys(topology.groups).flatMap((group) => [
      { name: queueOf(topology, group), options: queueOptions(topology, group, defaults.deliveryLimit) },
      { name: deadQueueOf(topology, group), options: deadQueueOptions },
    ]);
    const found = await Promise.all(
      queues.map(async ({ name, options }) => {
        const exists = await this.#onChannel((channel) => channel.checkQueue(name)).catch(() => undefined);
        if (!exists) return undefined;
        const problem = (error: unknown) =>
          `the queue ${name} exists with other arguments (${reasonOf(error)}): let its messages be handled, delete it, and start again`;
        // Declaring a queue that exists changes nothing.
        return this.#onChannel((channel) => channel.assertQueue(name, options)).then(() => undefined, problem);
      }),
    );
    return found.filter((problem) => problem !== undefined);
  }

  async #onChannel(work: (channel: Channel) => Promise<unknown>, { evenIfAborted = false } = {}): Promise<unknown> {
    const step = <T>(promise: Promise<T>) => (evenIfAborted ? within(STEP_MS, promise) : this.#step(promise));
    const channel = await step(this.#connection.createChannel());
    const closed = closedWith(channel);
    try {
      return await step(Promise.race([work(channel), closed]));
    } finally {
      channel.close().catch(() => undefined); // it is closed already
    }
  }

  #step<T>(promise: Promise<T>): Promise<T> {
    const late = () =>
      new Error(this.#blocked ? `blocked by the broker: ${this.#blocked}` : `no reply within ${STEP_MS} ms`);
    return within(STEP_MS, unlessAborted(this.#signal, promise), late);
  }

  #explained(error: unknown): string {
    const reason = reasonOf(error);
    const { user, vhost } = this.#node;
    const names = `'^${this.#topology.prefix}\\..*'`;
    if (/ACCESS_REFUSED/.test(reason))
      return `its user may not do what a start does (${reason}): rabbitmqctl set_permissions -p '${vhost}' '${user}' ${names} ${names} ${names}`;
    if (/message size|max size/i.test(reason))
      return `it rejects a message of 64 KiB (${reason}): raise max_message_size to 131072`;
    if (this.#blocked) return `it accepts no messages (${this.#blocked}): free memory or disk space on the node`;
    return `it cannot carry the events: ${reason}`;
  }
}

function isTooOld(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [minMajor, minMinor] = MIN_VERSION;
  if (major > minMajor || (major === minMajor && minor >= minMinor)) return undefined;
  return `it is version ${version}: the queues need ${MIN_VERSION.join('.')} or newer`;
}

/** Rejects with the reason when the broker closes the channel. */
function closedWith(channel: Channel): Promise<never> {
  const closed = new Promise<never>((_, reject) => {
    channel.once('error', reject);
  });
  closed.catch(() => undefined);
  return closed;
}
