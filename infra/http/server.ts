// The listening server: fails with a clear error if it cannot listen, ends the connections of clients that are too slow,
// and stops without resetting a client.
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { HANDSHAKE_TIMEOUT_MS, Handshakes } from '../runtime/handshakes.ts';
import { deferred } from '../runtime/promises.ts';
import type { ServerCertificate } from '../runtime/server-certificate.ts';
import { bracketed, hostPort } from '../runtime/server-url.ts';
import { StartupError } from '../runtime/startup-error.ts';
import { badRequest, headersTooLarge, Problem } from './problem.ts';

/** How long the server continues to respond after a stop began. */
const LAME_DUCK_MS = 250;

/** How long requests in flight may take after that. A client that stops sending or reading must not delay the stop. */
const DRAIN_MS = 3_000;

/**
 * Maximum number of requests that wait to be handled. Only clients that do not wait for responses (pipelining), or more
 * connections than this, reach it.
 */
const MAX_ARRIVED = 10_000;

/**
 * Requests on one connection that have no response yet. Browsers and HTTP libraries send the next one after a response;
 * a client that sends thousands at once would occupy whole turns of the event loop.
 */
const MAX_PIPELINED = 100;

export class PortInUse extends StartupError {
  constructor(variable: string, host: string, port: number, cause?: unknown) {
    const remedy = `stop what uses it, or set ${variable} to another port (0 takes a free one)`;
    super(`port ${port} on ${bracketed(host)} is in use: ${remedy}`, { cause });
  }
}

/** A client that sends or reads more slowly than these allow loses its connection. */
const DEFAULTS = {
  /**
   * How long an idle connection stays open, also one on which no request has come yet. Longer than the 60 s after which
   * common load balancers close theirs: a server that closes first resets the requests that are on their way.
   */
  keepAliveMs: 65_000,
  /** From the first byte of a request to the end of its headers. They fit into a few packets, sent at once. */
  headersMs: 10_000,
  /** From the first byte of a request to its last. 1 MiB, the largest body, takes that long at 150 kbit/s. */
  requestMs: 60_000,
  /** From the end of a response until the operating system has taken its last byte. */
  responseMs: 60_000,
  /**
   * For the rest of a request that has its response already: a client that still sends reads the response first, if the
   * connection is not reset under it.
   */
  lingerMs: 2_000,
  /** How often the server looks for requests that are too slow. */
  checkEveryMs: 5_000,
  /** Connections at a time; one more is closed at once. */
  maxConnections: Number.POSITIVE_INFINITY,
};

/** node:http responds with 431 to larger ones. */
const MAX_HEADERS_BYTES = 16 * 1024;

interface ListenSettings {
  readonly HOST: string;
  readonly PORT: number;
  readonly KEEP_ALIVE_MS?: number;
  readonly MAX_CONNECTIONS?: number;
}

/** Called when the response to a request has ended or its connection is closed: how long after the request arrived. */
type OnResponse = (request: IncomingMessage, response: ServerResponse, seconds: number) => void;

interface Observers {
  readonly onResponse?: OnResponse;
  /** Called for each connection above the maximum. */
  readonly onDrop?: () => void;
}

export interface HttpOptions extends Observers {
  /** With it, the server speaks HTTPS. */
  readonly certificate?: ServerCertificate | undefined;
}

type ListenLimits = Partial<typeof DEFAULTS>;
type ListenOptions = ListenLimits & HttpOptions;

/** Rejects with a StartupError that says how to change the settings if the server cannot listen there. */
export const listenAt = (settings: ListenSettings, handler: RequestListener, options?: HttpOptions) => {
  const { HOST, PORT, KEEP_ALIVE_MS: keepAliveMs = DEFAULTS.keepAliveMs } = settings;
  const { MAX_CONNECTIONS: maxConnections = DEFAULTS.maxConnections } = settings;
  return listen(handler, HOST, PORT, { ...options, keepAliveMs, maxConnections }).catch((error) => {
    throw listenError(error, HOST, PORT);
  });
};

/** Port 0: a free one. Rejects with Node's error if the server cannot listen there. */
export async function listen(
  handler: RequestListener,
  host: string,
  port: number,
  options: ListenOptions = {},
): Promise<HttpServer> {
  const { certificate, ...rest } = options;
  const limits = { ...DEFAULTS, ...rest };
  const serverOptions = {
    keepAliveTimeout: limits.keepAliveMs,
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    connectionsCheckingInterval: limits.checkEveryMs,
    maxHeaderSize: MAX_HEADERS_BYTES,
  };
  const { server, handshakes } = certificate
    ? secureServer(serverOptions, certificate)
    : { server: createServer(serverOptions) };
  server.maxConnections = limits.maxConnections;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, 1024, resolve);
  });
  return new HttpServer(server, handler, { ...limits, handshakes });
}

function secureServer(options: ServerOptions, certificate: ServerCertificate) {
  const server = createTlsServer({ ...options, ...certificate.options, handshakeTimeout: HANDSHAKE_TIMEOUT_MS });
  certificate.follow(server);
  return { server, handshakes: new Handshakes(server) };
}

/** `handshakes`: undefined without TLS. */
type ServerParts = Required<ListenLimits> & Observers & { readonly handshakes?: Handshakes | undefined };

export class HttpServer {
  readonly server: Server;
  readonly url: string;
  readonly #handler: RequestListener;
  readonly #limits: Required<ListenLimits>;
  readonly #handshakes: Handshakes | undefined;
  /** Requests of this turn of the event loop. */
  #arrived: [IncomingMessage, ServerResponse][] = [];
  #inFlight = 0;
  /** Resolved when the last request in flight has its response during a stop. */
  #drained: ReturnType<typeof deferred> | undefined;
  #closing: Promise<void> | undefined;

  /** `server` listens, and no connection has been accepted yet. */
  constructor(server: Server, handler: RequestListener, { handshakes, onResponse, onDrop, ...limits }: ServerParts) {
    const { address, port } = server.address() as AddressInfo;
    this.#handler = handler;
    this.#limits = limits;
    this.#handshakes = handshakes;
    this.url = `${handshakes ? 'https' : 'http'}://${hostPort({ host: address, port })}`;
    this.server = server.on('request', (request, response) => {
      const { socket } = request;
      if ((responsesOf.get(socket)?.size ?? 0) >= MAX_PIPELINED) socket.destroy();
      // The parser goes on to the end of what it has read.
      if (socket.destroyed) return;
      // A keep-alive connection would be reused for ever, so each response ends its connection during a stop.
      if (this.#closing) response.setHeader('Connection', 'close');
      this.#inFlight++;
      const arrivedAt = performance.now();
      response.once('close', () => {
        onResponse?.(request, response, (performance.now() - arrivedAt) / 1_000);
        this.#inFlight--;
        if (this.#inFlight === 0) this.#drained?.resolve();
      });
      closeWithItsSocket(socket, response);
      this.#boundResponse(request, response);
      if (this.#arrived.push([request, response]) === 1) setImmediate(() => this.#handleArrived());
      if (this.#arrived.length >= MAX_ARRIVED) this.#handleArrived();
    });
    server.on('clientError', (error, socket) => this.#rejectUnread(error, socket as Socket));
    if (onDrop) server.on('drop', onDrop);
  }

  /** Ends the connection of a client that does not read its response, or continues to send a request that has one. */
  #boundResponse(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const { responseMs, lingerMs } = this.#limits;
    const destroyAfter = (ms: number) => setTimeout(() => socket.destroy(), ms);
    response.once('prefinish', () => {
      // Nearly always, the operating system has taken the response at once.
      if (socket.writableLength === 0) return;
      const timer = destroyAfter(responseMs);
      response.once('close', () => clearTimeout(timer));
    });
    response.once('finish', () => {
      if (request.complete) return;
      const timer = destroyAfter(lingerMs);
      for (const event of ['end', 'close']) request.once(event, () => clearTimeout(timer));
    });
  }

  /** Responds to a request that node:http cannot read or has not read in time. */
  #rejectUnread(error: NodeJS.ErrnoException, socket: Socket): void {
    const { keepAliveMs, headersMs } = this.#limits;
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0) {
      // No request has come yet. A load balancer has opened the connection in advance, so it may stay idle; the time for
      // the headers of its first request begins with their first byte.
      const closeIdle = () => socket.bytesRead === 0 && socket.destroy();
      const timer = setTimeout(closeIdle, keepAliveMs + 1_000 - headersMs);
      socket.once('close', () => clearTimeout(timer));
      return;
    }
    const responds = [...(responsesOf.get(socket) ?? [])].some(({ headersSent }) => headersSent);
    if (responds || !socket.writable) socket.destroy();
    else unreadProblem(error.code).end(socket);
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
    this.#handshakes?.end();
    this.server.closeAllConnections();
  }
}

const requestTimeout = new Problem(408, 'request-timeout', { title: 'The request did not arrive in time' });

/** `code`: of node:http's error. */
function unreadProblem(code: string | undefined): Problem {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return requestTimeout;
  if (code === 'HPE_HEADER_OVERFLOW') return headersTooLarge;
  return badRequest('It is not HTTP/1.1.');
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
