// A TCP proxy between a client and its server that breaks connections as networks do.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { freePort } from '../servers/ports.ts';

export interface Proxy {
  readonly port: number;
  /** Resets every open connection (RST, so that both ends see an error); new ones are accepted. */
  sever(): void;
  /**
   * While on, connections stay open, and everything that is sent in either direction is dropped without an error. The
   * dropped bytes are lost, so call sever() before switching it off.
   */
  swallow(on: boolean): void;
  /** Delays everything that the server sends. */
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
    // Without backpressure: all that tests send fits in memory.
    socket.on('data', (chunk) => {
      if (swallowing) return;
      if (lag() > 0) setTimeout(() => peer.write(chunk), lag());
      else peer.write(chunk);
    });
    socket.on('end', () => {
      if (!swallowing) peer.end();
    });
    // 'close' follows every error, and ends the other side too.
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
  const sever = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const listenPort = await freePort();
  server.listen(listenPort, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: listenPort,
    sever,
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
      sever();
      await once(server, 'close');
    },
  };
}

function hostOf(url: string): Target {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
