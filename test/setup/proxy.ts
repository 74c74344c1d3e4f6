// A TCP proxy between a client and its server, to break the connection in the ways that networks do.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { freePort } from '../servers/ports.ts';

export interface Proxy {
  readonly port: number;
  /** Resets every connection there is (RST, so that both ends see an error); new ones are accepted. */
  cut(): void;
  /** While on, nothing is forwarded in either direction and nobody is told: connections stay open and silent. What was
   *  swallowed is lost, so cut() before switching it off again. */
  swallow(on: boolean): void;
  /** What the server sends arrives so much later. */
  delay(ms: number): void;
  /** While on, new connections are reset at once. */
  reject(on: boolean): void;
  close(): Promise<void>;
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** The proxy listens on 127.0.0.1. `target` is a host and port, or the URL of a server. */
export async function startProxy(target: Target | string): Promise<Proxy> {
  const { host, port } = typeof target === 'string' ? hostOf(target) : target;
  const sockets = new Set<Socket>();
  let swallowing = false;
  let rejecting = false;
  let delayMs = 0;

  const track = (socket: Socket, peer: Socket, lag: () => number) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    // No backpressure on purpose: what tests send fits in memory.
    socket.on('data', (chunk) => {
      if (swallowing) return;
      if (lag() > 0) setTimeout(() => peer.write(chunk), lag());
      else peer.write(chunk);
    });
    socket.on('end', () => {
      if (!swallowing) peer.end();
    });
    // An error is always followed by 'close', where the other side is ended as well.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      if (!swallowing) peer.destroy();
    });
  };
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (rejecting) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ host, port, allowHalfOpen: true });
    track(client, upstream, () => 0);
    track(upstream, client, () => delayMs);
  });
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const listenPort = await freePort();
  server.listen(listenPort, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: listenPort,
    cut,
    swallow(on) {
      swallowing = on;
    },
    delay(ms) {
      delayMs = ms;
    },
    reject(on) {
      rejecting = on;
    },
    async close() {
      server.close();
      cut();
      await once(server, 'close');
    },
  };
}

function hostOf(url: string): Target {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
