// One connection to the broker that comes back by itself (amqplib's recovery), and what there is to know about it.
import type { Duplex } from 'node:stream';
import { type Channel, type ChannelModel, connect } from 'amqplib';
import type { Logger } from 'pino';
import type { Health } from '../../runtime/health.ts';
import { within } from '../../runtime/promises.ts';
import { Addresses } from './addresses.ts';

/** For a peer that accepts the connection and then says nothing. */
const HANDSHAKE_TIMEOUT_MS = 5_000;
/** For all nodes together, while none can be reached. */
const RETRY_MAX_MS = 5_000;
/** For a peer that does not answer the farewell. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface Connection {
  /** The live connection, or undefined while there is none. */
  model(): ChannelModel | undefined;
  /** Whether the broker has stopped reading from this connection, as it does while it is short of memory or disk. */
  blocked(): boolean;
  /** Calls `listener` when a connection was made or lost, blocked or unblocked. Returns how to stop that. */
  onChange(listener: () => void): () => void;
  /** How long the broker may take for an answer. */
  readonly answerTimeoutMs: number;
  /** Channels that the broker was asked to close and has not closed. */
  readonly unclosed: Set<Channel>;
  /** Resolves when the first attempt to connect has succeeded or failed. */
  readonly firstAttempt: Promise<void>;
  health(): Health;
  /** Breaks the connection, for another one to be made. */
  reset(reason: string): void;
  /** Takes at most CLOSE_TIMEOUT_MS. */
  close(): Promise<void>;
}

export interface ConnectionOptions {
  /** One, or those of a cluster's nodes, separated by commas. Where a node cannot be reached or is lost, the next
   *  attempt goes to the next one. */
  readonly urls: string;
  /** What the broker's tools show. */
  readonly name: string;
  readonly answerTimeoutMs: number;
  readonly log: Logger;
}

/** Connects in the background, again and again (100 ms to 5 s apart). */
export async function openConnection({ urls, name, answerTimeoutMs, log }: ConnectionOptions): Promise<Connection> {
  const addresses = new Addresses(urls);
  const listeners = new Set<() => void>();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  let model: ChannelModel | undefined;
  let blockedBecause: string | undefined;
  /** The last one that was logged. */
  let failure: string | undefined;

  const recovering = await connect(addresses.current, {
    noDelay: true,
    keepAlive: true,
    timeout: HANDSHAKE_TIMEOUT_MS,
    clientProperties: { connection_name: name },
    recovery: {
      initialDelay: 100,
      maxDelay: RETRY_MAX_MS / addresses.count,
      factor: 2,
      jitter: 0.3,
      waitForConnect: false,
      setup: prepare,
    },
  });
  /** 'disconnect' follows, not always with the same error. */
  let cause: Error | undefined;
  recovering.on('error', (error) => {
    cause = error;
  });
  recovering.on('connect', (connected) => {
    log.info({ connection: name, node: addresses.name }, 'connected to the broker');
    model = connected;
    changed();
  });
  recovering.on('disconnect', (last) => {
    const error = cause ?? last;
    cause = undefined;
    log.warn({ err: error, connection: name, node: addresses.name }, 'connection to the broker lost');
    model = undefined;
    blockedBecause = undefined;
    failure = error.message;
    addresses.advance();
    changed();
  });
  recovering.on('connect-failed', (error) => {
    if (failure !== error.message)
      log.warn({ err: error, connection: name, node: addresses.name }, 'cannot connect to the broker');
    failure = error.message;
    addresses.advance();
  });
  recovering.on('blocked', (reason) => {
    log.warn({ reason, connection: name }, 'blocked by the broker');
    blockedBecause = reason;
    changed();
  });
  recovering.on('unblocked', () => {
    log.info({ connection: name }, 'unblocked by the broker');
    blockedBecause = undefined;
    changed();
  });
  const firstAttempt = new Promise<void>((resolve) => {
    recovering.once('connect', () => resolve());
    recovering.once('connect-failed', () => resolve());
  });

  async function disconnect(): Promise<void> {
    const last = model;
    model = undefined;
    if (!last) return recovering.close();
    // close() alone would wait for ever for the answer of a peer that is gone.
    const gone = new Promise((resolve) => last.once('close', resolve));
    const deadline = setTimeout(() => socketOf(last).destroy(new Error('no answer to close')), CLOSE_TIMEOUT_MS);
    await Promise.race([recovering.close(), gone]);
    clearTimeout(deadline);
  }

  let closing: Promise<void> | undefined;
  return {
    model: () => model,
    blocked: () => blockedBecause !== undefined,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    answerTimeoutMs,
    unclosed: new Set(),
    firstAttempt,
    health() {
      if (!model) return { status: 'down', detail: 'no connection to the broker' };
      if (blockedBecause !== undefined) return { status: 'degraded', detail: 'blocked by the broker' };
      return { status: 'up' };
    },
    reset(reason) {
      if (model) socketOf(model).destroy(new Error(reason));
    },
    close() {
      closing ??= disconnect();
      return closing;
    },
  };
}

/** Runs on each new connection before recovery looks after it. It must not hang: recovery would wait for it for ever. */
async function prepare(model: ChannelModel): Promise<void> {
  // Until recovery listens, an error without this listener would end the process.
  model.on('error', () => undefined);
  model.on('close', () => socketOf(model).destroy());
  // A connection that ended before anyone listened would be taken for a live one. One round trip tells.
  const silent = new Error(`no answer within ${HANDSHAKE_TIMEOUT_MS} ms`);
  const closed = new Promise((resolve) => model.once('close', resolve));
  const probe = await within(HANDSHAKE_TIMEOUT_MS, model.createChannel(), () => silent).catch(async (error) => {
    if (error !== silent) throw error; // it has ended
    // Recovery says farewell to what could not be prepared, and waits for an answer unless it is closed already.
    socketOf(model).destroy(silent);
    await closed;
    throw silent;
  });
  probe.on('error', () => undefined);
  probe.close().catch(() => undefined);
}

/** amqplib ends the socket and never destroys it: a silent peer would hold it, and all that is buffered, for ever. */
const socketOf = (model: ChannelModel) => (model.connection as unknown as { stream: Duplex }).stream;
