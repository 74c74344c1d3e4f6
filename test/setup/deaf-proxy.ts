// A TCP proxy to an AMQP or MQTT broker that can drop deliveries and forward everything else: connecting, publishing,
// heartbeats and requests work as usual, and consumers receive nothing.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { listen } from './listen.ts';

export interface DeafProxy {
  /** The broker's URL through the proxy. */
  readonly url: string;
  /**
   * While on, the broker's deliveries are dropped without an error. A connection (AMQP: a channel) that has lost a
   * delivery loses all later ones, too, until a new one replaces it: on a real network, nothing arrives after a lost
   * part either.
   */
  deafen(on: boolean): void;
  /**
   * AMQP: drops these replies, named by class and method ("20.11"), as if the broker hung. A channel that waits for one
   * waits forever.
   */
  withhold(methods: readonly string[]): void;
  close(): Promise<void>;
}

interface Protocol {
  /** The length of the packet at the start of these bytes, or undefined if they are too few to know it. */
  lengthOf(bytes: Buffer): number | undefined;
  /** For one connection: returns whether to drop a packet. */
  createFilter(isDeaf: () => boolean, withheld: (method: string) => boolean): (packet: Buffer) => boolean;
}

export async function startDeafProxy(brokerUrl: string): Promise<DeafProxy> {
  const url = new URL(brokerUrl);
  const { hostname: host, port } = url;
  const { lengthOf, createFilter } = url.protocol === 'amqp:' ? amqp : mqtt;
  const sockets = new Set<Socket>();
  let deaf = false;
  let withheld: readonly string[] = [];

  const track = (socket: Socket, peer: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => undefined); // 'close' follows
    socket.on('close', () => {
      sockets.delete(socket);
      peer.destroy();
    });
  };
  const server = createServer((client) => {
    const upstream = connect({ host, port: Number(port) });
    track(client, upstream);
    track(upstream, client);
    client.on('data', (chunk) => upstream.write(chunk));
    const drops = createFilter(
      () => deaf,
      (method) => withheld.includes(method),
    );
    let rest: Buffer = Buffer.alloc(0);
    upstream.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (let length = lengthOf(rest); length !== undefined && length <= rest.length; length = lengthOf(rest)) {
        const packet = rest.subarray(0, length);
        rest = rest.subarray(length);
        if (!drops(packet)) client.write(packet);
      }
    });
  });
  url.port = String(await listen(server));
  return {
    url: url.href,
    deafen(on) {
      deaf = on;
    },
    withhold(methods) {
      withheld = methods;
    },
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** AMQP 0-9-1, section 4.2.3: type, channel, size, payload, end. A delivery is a basic.deliver, a header and bodies. */
const amqp: Protocol = {
  lengthOf: (bytes) => (bytes.length < 7 ? undefined : 7 + bytes.readUInt32BE(3) + 1),
  createFilter(isDeaf, withheld) {
    /** Channels that have lost a delivery, and channels whose next frames belong to a dropped delivery. */
    const deaf = new Set<number>();
    const dropping = new Set<number>();
    return (frame) => {
      const channel = frame.readUInt16BE(1);
      const method = frame[0] === 1 ? `${frame.readUInt16BE(7)}.${frame.readUInt16BE(9)}` : undefined;
      if (method === undefined) return dropping.has(channel);
      if (withheld(method)) return true;
      if (method === CHANNEL_OPEN_OK) deaf.delete(channel);
      const drop = method === BASIC_DELIVER && (isDeaf() || deaf.has(channel));
      if (drop) dropping.add(channel);
      else dropping.delete(channel);
      if (drop) deaf.add(channel);
      return drop;
    };
  },
};
const CHANNEL_OPEN_OK = '20.11';
const BASIC_DELIVER = '60.60';

/** MQTT 3.1.1, section 2.2: type and flags, remaining length in one to four bytes. A delivery is a PUBLISH, type 3. */
const mqtt: Protocol = {
  lengthOf(bytes) {
    let remaining = 0;
    for (let index = 1; index <= 4 && index < bytes.length; index++) {
      const byte = bytes.readUInt8(index);
      remaining += (byte & 0x7f) * 128 ** (index - 1);
      if ((byte & 0x80) === 0) return index + 1 + remaining;
    }
    return undefined;
  },
  createFilter(isDeaf) {
    let deaf = false;
    return (packet) => {
      const drop = packet.readUInt8(0) >> 4 === 3 && (deaf || isDeaf());
      deaf ||= drop;
      return drop;
    };
  },
};
