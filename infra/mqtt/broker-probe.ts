// A connection of a check of an MQTT broker. If the broker ends it, that is a result of the check.
import type { MqttClient } from 'mqtt';
import { unlessAborted, within } from '../runtime/promises.ts';
import { reasonOf } from '../runtime/reason.ts';
import { type Connect, endConnection } from './connect.ts';
import type { PublishOptions } from './port.ts';

/** How long the broker may take for each reply. */
const REPLY_MS = 5_000;
/** Between two attempts to connect. */
const RETRY_MS = 100;
/** Publishes at a time: Mosquitto ends the connection of a client with more than 20 in flight. */
const WINDOW = 20;
const MAX_TEXT_BYTES = 100;

/** The broker has ended the connection, or does not reply, as a reaction to what was sent. */
export class BrokerEnded extends Error {
  override readonly name = 'BrokerEnded';
}

/** Whether the broker has rejected the connection in its CONNACK, whose return code is a number. */
const isConnack = (error: Error): boolean => 'code' in error && typeof error.code === 'number';

const silent = () => new BrokerEnded(`it does not respond within ${REPLY_MS} ms`);

export interface ProbeOptions {
  readonly connect: Connect;
  /** The number of brokers that `connect` tries in turn. */
  readonly hosts: number;
  readonly signal: AbortSignal;
}

export interface Session {
  readonly clientId: string;
  readonly clean: boolean;
}

/** A message that has arrived. */
interface Arrival {
  readonly topic: string;
  /** The beginning of its payload. */
  readonly text: string;
  /** The size of its payload. */
  readonly bytes: number;
  readonly retained: boolean;
}

export class Probe {
  /** In the order of arrival. Their number is bounded by what the check publishes. */
  readonly arrivals: Arrival[] = [];
  /** Whether the broker had kept the session of an earlier connection. */
  readonly sessionPresent: boolean;
  readonly #client: MqttClient;
  readonly #signal: AbortSignal;
  readonly #ended: Promise<never>;
  #onArrival = () => {};

  private constructor(client: MqttClient, sessionPresent: boolean, signal: AbortSignal) {
    this.#client = client;
    this.sessionPresent = sessionPresent;
    this.#signal = signal;
    this.#ended = new Promise((_, reject) => {
      client.once('close', () => reject(new BrokerEnded('it ended the connection')));
    });
    this.#ended.catch(() => undefined);
    client.on('message', (topic, payload, { retain }) => {
      const text = payload.subarray(0, MAX_TEXT_BYTES).toString();
      this.arrivals.push({ topic, text, bytes: payload.length, retained: retain });
      this.#onArrival();
    });
  }

  /** Rejects with the reason if no connection is made. */
  static async open({ connect, hosts, signal }: ProbeOptions, session: Session): Promise<Probe> {
    signal.throwIfAborted();
    const client = connect({ ...session, connectTimeout: REPLY_MS, reconnectPeriod: RETRY_MS });
    const opened = new Promise<Probe>((resolve, reject) => {
      let reason: Error = new BrokerEnded('it ended the connection');
      let failures = 0;
      const failed = () => {
        if (++failures === hosts) reject(reason);
      };
      client.on('error', (error) => {
        reason = isConnack(error) ? new BrokerEnded(reasonOf(error), { cause: error }) : error;
      });
      client.on('close', failed);
      client.once('connect', ({ sessionPresent }) => {
        client.off('close', failed);
        client.options.reconnectPeriod = 0;
        // Now, so that no message of a session arrives before the probe listens.
        resolve(new Probe(client, sessionPresent, signal));
      });
    });
    try {
      return await within(hosts * REPLY_MS, unlessAborted(signal, opened), silent);
    } catch (error) {
      await endConnection(client);
      throw error;
    }
  }

  /** Resolves with the granted QoS of each topic; 128: rejected. */
  async subscribe(topics: readonly string[]): Promise<number[]> {
    const granted = new Promise<number[]>((resolve, reject) => {
      this.#client.subscribe([...topics], { qos: 1 }, (error, _granted, packet) => {
        if (packet) resolve(packet.granted.map(Number));
        else reject(error ?? new Error('no reply'));
      });
    });
    return this.#reply(granted);
  }

  /** Resolves when the broker has confirmed the message. */
  async publish(topic: string, payload: string, options: PublishOptions): Promise<void> {
    await this.#reply(this.#client.publishAsync(topic, payload, options));
  }

  /** Publishes empty messages with QoS 1. */
  async publishMany(topic: string, count: number): Promise<void> {
    let sent = 0;
    const publishNext = async () => {
      while (sent++ < count) await this.publish(topic, '', { qos: 1 });
    };
    await Promise.all(Array.from({ length: Math.min(WINDOW, count) }, publishNext));
  }

  /** Whether it becomes true within `idleMs` after the start or the last arrival. */
  async arrives(condition: (arrivals: readonly Arrival[]) => boolean, idleMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const decided = new Promise<boolean>((resolve) => {
      this.#onArrival = () => {
        clearTimeout(timer);
        if (condition(this.arrivals)) resolve(true);
        else timer = setTimeout(() => resolve(false), idleMs);
      };
      this.#onArrival();
    });
    try {
      return await unlessAborted(this.#signal, Promise.race([decided, this.#ended]));
    } finally {
      clearTimeout(timer);
      this.#onArrival = () => {};
    }
  }

  /** Never rejects. */
  async end(): Promise<void> {
    await endConnection(this.#client).catch(() => undefined);
  }

  #reply<T>(reply: Promise<T>): Promise<T> {
    return within(REPLY_MS, unlessAborted(this.#signal, Promise.race([reply, this.#ended])), silent);
  }
}

/** Runs `work` on a connection of its own. */
export async function onProbe<T>(
  options: ProbeOptions,
  session: Session,
  work: (probe: Probe) => Promise<T>,
): Promise<T> {
  const probe = await Probe.open(options, session);
  try {
    return await work(probe);
  } finally {
    await probe.end();
  }
}
