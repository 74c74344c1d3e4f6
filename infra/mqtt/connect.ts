// The options with which this project uses mqtt.js: MQTT 3.1.1, endless reconnects, no messages kept in memory for
// later.
import { connect as connectTcp } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { type IClientOptions, MqttClient } from 'mqtt';
import { createWebSocketStream, WebSocket } from 'ws';
import { hostPort } from '../runtime/server-url.ts';
import { withServerName } from '../runtime/tls-params.ts';
import { KEEPALIVE_SECONDS } from './port.ts';
import { type MqttServer, parseMqttUrls } from './url.ts';

/** The client id is required, because one that mqtt.js makes up lacks the prefix (client-ids.ts). */
export type ClientOptions = IClientOptions & { readonly clientId: string };

/** Makes a connection to one broker, external or embedded, for the client that the options describe. */
export type Connect = (options: ClientOptions) => MqttClient;

/** Options that every connection shares; a caller's own options override them. */
export const connectionDefaults: IClientOptions = {
  protocolVersion: 4,
  // Pings find a dead connection after one and a half times this.
  keepalive: KEEPALIVE_SECONDS,
  connectTimeout: 10_000,
  reconnectPeriod: 1_000,
  // A broker that is starting may reject at first.
  reconnectOnConnackError: true,
  queueQoSZero: false,
  // A subscriber subscribes at each 'connect', and so sees the outcome.
  resubscribe: false,
};

/**
 * Connects to the broker at `url`, one of MQTT_URL's form, in the background. Never throws if the broker is away. Of
 * several brokers the first one that responds is used; when its connection is lost, the search begins again, so that
 * all clients meet at the same broker.
 */
export const connectTo = (url: string): Connect => {
  const servers = parseMqttUrls(url);
  return (options) => {
    let attempts = 0;
    const open = (client: MqttClient): Duplex => {
      const server = servers[attempts++ % servers.length] as MqttServer;
      // mqtt.js reads them after this function returns.
      const { user: username = options.username, password = options.password } = server;
      Object.assign(client.options, { username, password });
      // mqtt.js reports only errors with a code, so not a response to the request for a WebSocket.
      return openStream(server).on('error', (error) => 'code' in error || client.emit('error', error));
    };
    // An error without a listener, such as a connection that ends, would be thrown.
    const client = new MqttClient(open, { ...connectionDefaults, ...options }).on('error', () => {});
    return client.on('connect', () => {
      attempts = 0;
    });
  };
};

function openStream(server: MqttServer): Duplex {
  const { host, port, webSocketPath, tls: given } = server;
  const tls = given && withServerName(given, host);
  if (webSocketPath !== undefined) {
    const scheme = tls ? 'wss' : 'ws';
    const socket = new WebSocket(`${scheme}://${hostPort(server)}${webSocketPath}`, ['mqtt'], { ...tls });
    const stream = createWebSocketStream(socket);
    socket.once('close', () => stream.destroy()); // it would stay half-open
    return stream;
  }
  return tls ? connectTls({ ...tls, host, port }) : connectTcp({ host, port });
}

/** How long a broker may take to handle a DISCONNECT before the socket is destroyed. */
const DISCONNECT_TIMEOUT_MS = 200;

/** Ends a connection for good: with a DISCONNECT if it is up (so the broker sends no Will), else at once. */
export async function endConnection(client: MqttClient): Promise<void> {
  if (!client.connected) return client.endAsync(true);
  const deadline = setTimeout(() => client.stream.destroy(), DISCONNECT_TIMEOUT_MS);
  // endAsync() waits without limit for messages that are not acknowledged.
  for (const id of Object.keys(client.outgoing)) client.removeOutgoingMessage(Number(id));
  await client.endAsync();
  clearTimeout(deadline);
}
