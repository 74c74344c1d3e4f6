// The options with which this project uses mqtt.js: MQTT 3.1.1, endless reconnects, no messages kept in memory for
// later.
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';

/** Makes a connection to one broker, external or embedded, for the client that the options describe. */
export type Connect = (options: IClientOptions) => MqttClient;

/** Options that every connection shares; a caller's own options override them. */
export const connectionDefaults: IClientOptions = {
  protocolVersion: 4,
  // Seconds. Pings find a dead connection after one and a half times this.
  keepalive: 30,
  connectTimeout: 10_000,
  reconnectPeriod: 1_000,
  // A broker that is starting may reject at first.
  reconnectOnConnackError: true,
  queueQoSZero: false,
  // A subscriber subscribes at each 'connect', and so sees the outcome.
  resubscribe: false,
};

/** Connects to the broker at `url` in the background. Never throws if the broker is away. */
export const connectTo =
  (url: string): Connect =>
  (options) =>
    mqtt.connect(url, { ...connectionDefaults, ...options });

/** How long a broker may take to handle a DISCONNECT before the socket is destroyed. */
const DISCONNECT_TIMEOUT_MS = 500;

/** Ends a connection for good: with a DISCONNECT if it is up (so the broker sends no Will), else at once. */
export async function endConnection(client: MqttClient): Promise<void> {
  if (!client.connected) return client.endAsync(true);
  const deadline = setTimeout(() => client.stream.destroy(), DISCONNECT_TIMEOUT_MS);
  // endAsync() waits without limit for messages that are not acknowledged.
  for (const id of Object.keys(client.outgoing)) client.removeOutgoingMessage(Number(id));
  await client.endAsync();
  clearTimeout(deadline);
}
