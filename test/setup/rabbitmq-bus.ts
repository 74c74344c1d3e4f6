// The bus on RabbitMQ for the tests of its failures. Each test file that imports this has a server of its own, because
// its tests kill the server, fill its disk and withhold its replies. Everything else ends with each test.
import { randomUUID } from 'node:crypto';
import { type Channel, connect } from 'amqplib';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, vi } from 'vitest';
import type { Bus, IncomingMessage, OutgoingEvent, PublishFailure, Receiver } from '../../infra/bus/port.ts';
import { RabbitmqBus } from '../../infra/bus/rabbitmq/index.ts';
import type { RabbitmqBusOptions } from '../../infra/bus/rabbitmq/options.ts';
import type { Topology } from '../../infra/bus/topology.ts';
import { type Rabbitmq, startRabbitmq } from '../servers/rabbitmq.ts';
import { cleanUp, cleanUps } from './clean-ups.ts';
import { eventually, freshPrefix } from './wait.ts';

const log = pino({ level: process.env.LOG_LEVEL ?? 'silent' });
export const SERVER_START_MS = 120_000;
/** Added to time limits, because a busy machine pauses. A caller that wrongly waits for the broker waits forever. */
export const PAUSES_MS = 5_000;

export let server: Rabbitmq;
export let topology: Topology;
/** Blocked handlers: released first, because closing a subscription waits for them. */
const releases: (() => void)[] = [];

beforeAll(async () => {
  server = await startRabbitmq();
}, SERVER_START_MS);
afterAll(() => server?.stop());

beforeEach(() => {
  topology = { prefix: freshPrefix(), groups: { points: ['order.placed'], coupon: ['order.placed'] } };
});
afterEach(async () => {
  for (const release of releases.splice(0)) release();
  await cleanUp();
  vi.restoreAllMocks();
});

/** Records the messages that it gets, after `before` has resolved. */
export class Recorder implements Receiver {
  readonly #before: (ids: readonly string[]) => Promise<void> | undefined;
  readonly handled: string[] = [];
  readonly deadLettered: { id: string; reason: string }[] = [];
  readonly isolated: string[] = [];
  batches = 0;

  constructor(before: (ids: readonly string[]) => Promise<void> | undefined = () => undefined) {
    this.#before = before;
  }

  async process(batch: readonly IncomingMessage[]): Promise<void> {
    this.batches++;
    const ids = batch.map(idOf);
    await this.#before(ids);
    this.handled.push(...ids);
  }

  async enqueue(): Promise<void> {
    throw new Error('not called with RabbitMQ');
  }

  async isolate(batch: readonly IncomingMessage[]): Promise<void> {
    this.isolated.push(...batch.map(idOf));
  }

  processOrEnqueue(): Promise<void> {
    return this.enqueue();
  }

  async deadLetter(batch: readonly IncomingMessage[], reason: string): Promise<void> {
    this.deadLettered.push(...batch.map((message) => ({ id: idOf(message), reason })));
  }

  wake(): void {}

  async toHandle(ids: readonly string[]): Promise<void> {
    const missing = () => {
      const handled = new Set(this.handled);
      return ids.filter((id) => !handled.has(id));
    };
    await eventually(() => missing().length === 0, { what: `all of ${ids.length} are handled`, timeoutMs: 20_000 });
  }

  async toHandleAnother(count: number): Promise<void> {
    const target = this.handled.length + count;
    await eventually(() => this.handled.length >= target, { what: `${count} more are handled`, timeoutMs: 30_000 });
  }
}

export function event(body?: string): OutgoingEvent {
  const id = randomUUID();
  return { id, type: 'order.placed', body: body ?? JSON.stringify({ id }) };
}
export const events = (count: number) => Array.from({ length: count }, () => event());
/** The id of an event, or the text of a body that is none. */
const idOf = ({ body }: IncomingMessage): string => {
  const text = body.toString();
  try {
    return (JSON.parse(text) as { id: string }).id;
  } catch {
    return text;
  }
};
export const codesOf = (failures: readonly PublishFailure[]) => [...new Set(failures.map(({ error }) => error.code))];

export async function openBus(options: Partial<RabbitmqBusOptions> = {}): Promise<Bus> {
  const bus = new RabbitmqBus({ url: server.amqpUrl, topology, log, ...options });
  cleanUps.push(() => bus.close());
  return bus;
}

export async function subscribe(bus: Bus, group: string, receiver: Receiver) {
  const subscription = await bus.subscribe(group, receiver);
  cleanUps.push(() => subscription.close());
  return subscription;
}

export async function record(bus: Bus, group: string): Promise<Recorder> {
  const recorder = new Recorder();
  await subscribe(bus, group, recorder);
  return recorder;
}

/** Publishes new events until the broker confirms one; resolves with its id. */
export const publishOne = (bus: Bus, type = 'order.placed'): Promise<string> =>
  eventually(
    async () => {
      const one = { ...event(), type };
      return (await bus.publish([one])).length === 0 && one.id;
    },
    { what: 'an event is published', timeoutMs: 20_000 },
  ) as Promise<string>;

export function latch() {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  releases.push(release);
  return { released, release };
}

export async function openAdmin(): Promise<Channel> {
  const connection = await connect(server.amqpUrl);
  cleanUps.push(() => connection.close());
  const channel = await connection.createChannel();
  channel.on('error', () => undefined); // the request rejects with it
  return channel;
}
