// The listening server: starts with a clear error where the port is taken, and stops without cutting an answer short.
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StartupError } from '../startup-error.ts';

export interface HttpServer {
  readonly server: Server;
  readonly url: string;
  /** Takes no new connection, answers what is under way and closes idle connections. */
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
  const server = createServer((request, response) => {
    // A connection that is kept alive would be reused for ever: while closing, each answer is the last on its own.
    if (closing) response.setHeader('Connection', 'close');
    handler(request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new PortInUse('PORT', host, port, error) : error),
    );
    server.listen(port, host, 1024, resolve);
  });
  const address = server.address() as AddressInfo;
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  let closed: Promise<void> | undefined;
  return {
    server,
    url: `http://${shown}:${address.port}`,
    close: () => {
      closing = true;
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      });
      return closed;
    },
  };
}
