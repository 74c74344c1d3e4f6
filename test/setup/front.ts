// A service with and without the listener in front of its routes, and requests whose bytes a test sends itself.
import type { RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { createApp } from '../../infra/http/app.ts';
import { type Authentication, noAuthentication } from '../../infra/http/authentication.ts';
import { addressList, ReverseProxy } from '../../infra/http/reverse-proxy.ts';
import { listen } from '../../infra/http/server.ts';
import type { AnyService } from '../../infra/runtime/service.ts';
import { log } from './bus-fixtures.ts';

export const JSON_TYPE = { 'Content-Type': 'application/json' };

/** The servers' ends of the connections, by the client's port. */
const accepted = new Map<number | undefined, Socket>();
const onConnection = (socket: Socket) => {
  const { remotePort } = socket;
  accepted.set(remotePort, socket);
  socket.on('close', () => accepted.delete(remotePort));
};

export type Served = Awaited<ReturnType<typeof serve>>;
/** The client counts as a trusted proxy. */
const proxy = new ReverseProxy({ basePath: '/base', trusted: addressList('127.0.0.1') });
const serve = async (listener: RequestListener) => {
  const { server, url } = await listen(proxy.before(listener), '127.0.0.1', 0);
  return { server: server.on('connection', onConnection), port: Number(new URL(url).port) };
};

/** `front`: the listener before the routes; `routes`: the routes alone. */
export async function serveBoth(
  { routes, front }: Pick<AnyService, 'routes' | 'front'>,
  authentication: Authentication = noAuthentication,
) {
  let passed = 0;
  const app = createApp(log, routes, authentication);
  const counting: RequestListener = (request, response) => {
    passed++;
    app(request, response);
  };
  const servers = { front: await serve(front?.(counting, authentication) ?? counting), routes: await serve(app) };
  return {
    ...servers,
    /** Requests that reached Express through the listener. */
    passed: () => passed,
    close: () => {
      for (const { server } of Object.values(servers)) server.close().closeAllConnections();
    },
  };
}

/** Resolves when the server has read all that the client has written, or has ended the connection. */
export async function serverHasRead(client: Socket): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!client.destroyed && accepted.get(client.localPort)?.bytesRead !== client.bytesWritten) {
    if (performance.now() > deadline) throw new Error('waited 10 s in vain for the server to read a request');
    await turn();
  }
}

/** How the bytes of a request arrive. */
export type Pieces = 'together' | 'body later' | 'half of the body later';

interface Sent {
  readonly head: string;
  readonly body: Buffer;
  readonly pieces: Pieces;
}

interface Received {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Sends a request on a connection of its own, and half-closes it so that no server waits for more. `mask`: replaces what
 * differs in each response, in its head and body.
 */
export async function send(
  { port }: Served,
  { head, body, pieces }: Sent,
  mask = (text: string) => text,
): Promise<Received> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  socket.on('error', () => undefined); // a server may end the connection before it has read everything
  const chunks: Buffer[] = [];
  const ended = new Promise((resolve) => socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('close', resolve));
  socket.on('end', () => socket.end());
  const atOnce = { together: body.length, 'body later': 0, 'half of the body later': body.length >> 1 }[pieces];
  socket.write(Buffer.concat([Buffer.from(head), body.subarray(0, atOnce)]));
  if (atOnce < body.length) {
    await serverHasRead(socket);
    socket.write(body.subarray(atOnce));
  }
  await ended;
  return parsed(mask(Buffer.concat(chunks).toString('utf8')));
}

function parsed(text: string): Received {
  const end = text.indexOf('\r\n\r\n');
  const [status = '', ...lines] = text.slice(0, end).split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => {
      const [name = '', value = ''] = line.split(/: (.*)/s);
      return [name.toLowerCase(), value] as const;
    }),
  );
  delete headers.date;
  return { status: Number(status.split(' ')[1]), headers, body: text.slice(end + 4) };
}

export interface Asked {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: Buffer;
  readonly pieces?: Pieces;
}

export const requestOf = ({ method = 'POST', path, headers = {}, body, pieces = 'together' }: Asked): Sent => {
  const length = body === undefined ? {} : { 'Content-Length': String(body.length) };
  const all = Object.entries({ Host: 'x', Connection: 'close', ...length, ...headers });
  const lines = all.flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  return { head: [`${method} ${path} HTTP/1.1`, ...lines, '', ''].join('\r\n'), body: body ?? Buffer.alloc(0), pieces };
};
