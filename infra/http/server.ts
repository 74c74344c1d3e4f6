// The listening server: fails with a clear error if it cannot listen, and stops without resetting a client.
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { deferred } from '../runtime/promises.ts';
import { bracketed, hostPort } from '../runtime/server-url.ts';
import { StartupError } from '../runtime/startup-error.ts';

/** How long the server continues to respond after a stop began. */
const LAME_DUCK_MS = 250;

/** How long requests in flight may take after that. A client that stops sending or reading must not delay the stop. */
const DRAIN_MS = 3_000;

/**
 * Maximum number of requests that wait to be handled. Only clients that do not wait for responses (pipelining), or more
 * connections than this, reach it.
 */
const MAX_ARRIVED = 10_000;

export class PortInUse extends StartupError {
  constructor(variable: string, host: string, port: number, cause?: unknown) {
    const remedy = `stop what uses it, or set ${variable} to another port (0 takes a free one)`;
    super(`port ${port} on ${bracketed(host)} is in use: ${remedy}`, { cause });
  }
}

/**
 * How long an idle connection stays open. Longer than the 60 s after which common load balancers close theirs: a server
 * that closes first resets the requests that are on their way.
 */
const KEEP_ALIVE_MS = 65_000;

/** Node's own limits for the headers of a request and for a whole request. */
const HEADERS_MS = 60_000;
const REQUEST_MS = 300_000;

interface ListenSettings {
  readonly HOST: string;
  readonly PORT: number;
  readonly KEEP_ALIVE_MS?: number;
}

/** Called when the response to a request has ended or its connection is closed: how long after the request arrived. */
type OnResponse = (request: IncomingMessage, response: ServerResponse, seconds: number) => void;

interface ListenOptions {
  readonly keepAliveMs?: number | undefined;
  readonly onResponse?: OnResponse | undefined;
}

/** Rejects with a StartupError that says how to change the settings if the server cannot listen there. */
export const listenAt = (settings: ListenSettings, handler: RequestListener, onResponse?: OnResponse) => {
  const { HOST, PORT, KEEP_ALIVE_MS: keepAliveMs } = settings;
  return listen(handler, HOST, PORT, { keepAliveMs, onResponse }).catch((error) => {
    throw listenError(error, HOST, PORT);
  });
};

/** Port 0: a free one. Rejects with Node's error if the server cannot listen there. */
export async function listen(
  handler: RequestListener,
  host: string,
  port: number,
  { keepAliveMs = KEEP_ALIVE_MS, onResponse }: ListenOptions = {},
): Promise<HttpServer> {
  // The limit for headers also ends a connection on which no request has come yet, such as one that a load balancer
  // opened in advance, so it must not end sooner than an idle one.
  const headersTimeout = Math.max(HEADERS_MS, keepAliveMs + 1_000);
  const requestTimeout = Math.max(REQUEST_MS, headersTimeout);
  const server = createServer({ keepAliveTimeout: keepAliveMs, headersTimeout, requestTimeout });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, 1024, resolve);
  });
  return new HttpServer(server, handler, onResponse);
}

export class HttpServer {
  readonly server: Server;
  readonly url: string;
  readonly #handler: RequestListener;
  /** Requests of this turn of the event loop. */
  #arrived: [IncomingMessage, ServerResponse][] = [];
  #inFlight = 0;
  /** Resolved when the last request in flight has its response during a stop. */
  #drained: ReturnType<typeof deferred> | undefined;
  #closing: Promise<void> | undefined;

  /** `server` listens, and no connection has been accepted yet. */
  constructor(server: Server, handler: RequestListener, onResponse?: OnResponse) {
    const { address, port } = server.address() as AddressInfo;
    this.#handler = handler;
    this.url = `http://${hostPort({ host: address, port })}`;
    this.server = server.on('request', (request, response) => {
      // A keep-alive connection would be reused for ever, so each response ends its connection during a stop.
      if (this.#closing) response.setHeader('Connection', 'close');
      this.#inFlight++;
      const arrivedAt = performance.now();
      response.once('close', () => {
        onResponse?.(request, response, (performance.now() - arrivedAt) / 1_000);
        this.#inFlight--;
        if (this.#inFlight === 0) this.#drained?.resolve();
      });
      closeWithItsSocket(request.socket, response);
      if (this.#arrived.push([request, response]) === 1) setImmediate(() => this.#handleArrived());
      if (this.#arrived.length >= MAX_ARRIVED) this.#handleArrived();
    });
  }

  /**
   * Requests are handled once all sockets of this turn of the event loop have been read. While 1,024 sockets are ready,
   * libuv reads up to 48 times that many before it runs timers and immediates. Clients that get their response within
   * the turn send their next request within it, too. If requests were handled as they are read, a flood over more than
   * 1,024 connections would therefore stop all other work for seconds.
   */
  #handleArrived(): void {
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const [request, response] of arrived) {
      // Otherwise the client has broken off; body parsers would take the request for one without a body.
      if (!request.socket.destroyed) this.#handler(request, response);
    }
  }

  /**
   * Responds for LAME_DUCK_MS more, ending each connection after its next response; then stops listening and waits up
   * to DRAIN_MS for the requests in flight.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // Clients learn from their next response that the connection ends, and load balancers learn that this process is not
    // ready. Closing at once would reset requests that are on their way.
    await delay(LAME_DUCK_MS);
    // Not awaited, because upgraded connections (MQTT over WebSocket) end only with the broker.
    this.server.close();
    this.#drained = deferred();
    if (this.#inFlight > 0) await Promise.race([this.#drained.promise, delay(DRAIN_MS, undefined, { ref: false })]);
    this.server.closeAllConnections();
  }
}

const responsesOf = new WeakMap<Socket, Set<ServerResponse>>();

/**
 * On Node.js 20, a pipelined response that waits for an earlier one never emits `close` when its connection ends, so
 * that requests counted by that event would stay in flight for ever. It is emitted here.
 */
function closeWithItsSocket(socket: Socket, response: ServerResponse): void {
  let open = responsesOf.get(socket);
  if (!open) {
    open = new Set();
    responsesOf.set(socket, open);
    socket.once('close', () => {
      for (const each of open ?? []) if (!each.socket && !each.destroyed) each.emit('close');
    });
  }
  open.add(response);
  response.once('close', () => open.delete(response));
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): StartupError {
  if (error.code === 'EADDRINUSE') return new PortInUse('PORT', host, port, error);
  const remedy = 'set them to an address and a port of this machine';
  const message = `cannot listen on HOST=${host}, PORT=${port} (${error.message}): ${remedy}`;
  return new StartupError(message, { cause: error });
}
