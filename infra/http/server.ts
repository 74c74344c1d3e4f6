// The listening server: starts with a clear error where the port is taken, and stops without cutting an answer short.
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { StartupError } from '../runtime/startup-error.ts';

/** How long the server goes on answering after a stop began. */
const LAME_DUCK_MS = 250;

/** How long requests under way may take after that: a client that stops sending or reading must not hold up the rest. */
const DRAIN_MS = 3_000;

export interface HttpServer {
  readonly server: Server;
  readonly url: string;
  /** Goes on answering for a moment, each time as the connection's last answer; then listens no more. */
  close(): Promise<void>;
}

export class PortInUse extends StartupError {
  constructor(variable: string, host: string, port: number, cause?: unknown) {
    super(
      `port ${port} on ${host} is in use: stop what uses it, or set ${variable} to another port (0 takes a free one)`,
      {
        cause,
      },
    );
  }
}

export async function listen(handler: RequestListener, host: string, port: number): Promise<HttpServer> {
  let closing = false;
  let underWay = 0;
  let answered: () => void = () => {};
  const server = createServer((request, response) => {
    // A connection that is kept alive would be reused for ever: while closing, each answer is the last on its own.
    if (closing) response.setHeader('Connection', 'close');
    underWay++;
    response.once('close', () => {
      underWay--;
      if (underWay === 0) answered();
    });
    handler(request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new PortInUse('PORT', host, port, error)
          : new StartupError(
              `cannot listen on HOST=${host}, PORT=${port} (${error.message}): set them to an address and a port of this machine`,
              { cause: error },
            ),
      ),
    );
    server.listen(port, host, 1024, resolve);
  });
  const address = server.address() as AddressInfo;
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  const end = async () => {
    closing = true;
    // A client that keeps its connection learns from its next answer that it ends; a load balancer that this process
    // is not ready. Closed at once, requests that are on their way would be reset.
    await delay(LAME_DUCK_MS);
    // Not waited for: upgraded connections (MQTT over WebSocket) end with the broker.
    server.close();
    const drained = new Promise<void>((resolve) => {
      answered = resolve;
    });
    if (underWay > 0) await Promise.race([drained, delay(DRAIN_MS)]);
    server.closeAllConnections();
  };
  let ended: Promise<void> | undefined;
  return {
    server,
    url: `http://${shown}:${address.port}`,
    close: () => {
      ended ??= end();
      return ended;
    },
  };
}
