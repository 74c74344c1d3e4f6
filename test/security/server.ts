// The server of server.child.ts, clients that attack it, and a client that does not.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from 'undici';
import { cleanUps } from '../setup/clean-ups.ts';
import type { Facts, LIMITS } from './limits.ts';

export interface AttackedServer {
  readonly url: string;
  readonly port: number;
  readonly facts: () => Promise<Facts>;
  readonly stop: () => Promise<unknown>;
}

export async function startServer(limits: typeof LIMITS): Promise<AttackedServer> {
  const script = fileURLToPath(new URL('server.child.ts', import.meta.url));
  const child = fork(script, [JSON.stringify(limits)], { execArgv: ['--import', 'tsx'] });
  const exited = once(child, 'exit');
  const [url] = (await Promise.race([
    once(child, 'message'),
    exited.then(() => Promise.reject(new Error('no server'))),
  ])) as [string];
  return {
    url,
    port: Number(new URL(url).port),
    facts: async () => {
      child.send('facts');
      const [facts] = (await once(child, 'message')) as [Facts];
      return facts;
    },
    stop: () => {
      child.disconnect();
      return exited;
    },
  };
}

/** A connection whose bytes a test sends itself. */
export class RawClient {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  #received = '';

  private constructor(socket: Socket) {
    this.socket = socket.on('data', (chunk) => {
      // The end of what a test compares; a large response is only counted.
      if (this.#received.length < 100_000) this.#received += chunk.toString('latin1');
    });
    socket.on('error', () => undefined); // the server may reset the connection
    this.closed = new Promise((resolve) => socket.on('close', resolve));
    cleanUps.push(() => socket.destroy());
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const client = new RawClient(socket);
    // The server may close the connection at once.
    await Promise.race([new Promise((resolve) => socket.once('connect', resolve)), client.closed]);
    return client;
  }

  get received(): string {
    return this.#received;
  }

  /** Of the first response; undefined if none has come. */
  get status(): number | undefined {
    const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(this.#received) ?? [];
    return status === undefined ? undefined : Number(status);
  }

  write(...lines: readonly string[]): this {
    this.socket.write(lines.join('\r\n'));
    return this;
  }

  /** Writes `text` every 50 ms until the connection ends. */
  async drip(text: string): Promise<void> {
    while (!this.socket.destroyed && this.socket.writable) {
      this.socket.write(text);
      await delay(50);
    }
  }
}

/** Opens `count` connections at once. */
export const openAll = (port: number, count: number): Promise<RawClient[]> =>
  Promise.all(Array.from({ length: count }, () => RawClient.open(port)));

/**
 * Runs an attack while a client sends one request after the other. Resolves with the result of the attack. Rejects if a
 * request of that client fails or takes longer than five seconds, which leaves room for pauses of a busy machine.
 */
export async function beside<T>({ url }: AttackedServer, attack: () => Promise<T>): Promise<T> {
  // It keeps its connection, although the server says that it keeps idle ones only for LIMITS.keepAliveMs.
  const client = new Client(url, { keepAliveTimeoutThreshold: 100 });
  const request = async () => {
    const startedAt = performance.now();
    const { statusCode, body } = await client.request({ method: 'GET', path: '/small' });
    const text = await body.text();
    const took = performance.now() - startedAt;
    if (statusCode !== 200 || text !== '{"text":"ok"}' || took > 5_000)
      throw new Error(`a request beside the attack got ${statusCode} ${text} after ${Math.round(took)} ms`);
  };
  let attacking = true;
  const behave = async () => {
    for (; attacking; await delay(20)) await request();
  };
  try {
    await request();
    const attacked = attack().finally(() => {
      attacking = false;
    });
    const [result] = await Promise.all([attacked, behave()]);
    return result;
  } finally {
    await client.destroy();
  }
}
