// How this project uses mqtt.js: MQTT 3.1.1, reconnecting for ever, keeping nothing in memory for later.
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';

/** Makes a connection to one broker, external or embedded; the options say who connects. */
export type Connect = (options: IClientOptions) => MqttClient;

/** Options that every connection shares. The caller's come on top. */
export const connectionDefaults: IClientOptions = {
  protocolVersion: 4,
  // Seconds. Pings find a dead connection after one and a half times this.
  keepalive: 30,
  connectTimeout: 10_000,
  reconnectPeriod: 1_000,
  // A broker that is starting may reject at first.
  reconnectOnConnackError: true,
  queueQoSZero: false,
  // Whoever subscribes does so at each 'connect', and sees the outcome.
  resubscribe: false,
};

/** Connects in the background to the broker at `url` and never throws for one that is away. */
export const connectTo =
  (url: string): Connect =>
  (options) =>
    mqtt.connect(url, { ...connectionDefaults, ...options });

/** How long a broker may take to see a DISCONNECT off before the socket is destroyed. */
const FAREWELL_MS = 1_000;

/** Ends a connection for good: with a DISCONNECT where it is up (so no Will is sent), at once where it is not. */
export async function endConnection(client: MqttClient): Promise<void> {
  if (!client.connected) return client.endAsync(true);
  const deadline = setTimeout(() => client.stream.destroy(), FAREWELL_MS);
  // What still waits for an acknowledgement would hold a clean end up for ever.
  for (const id of Object.keys(client.outgoing)) client.removeOutgoingMessage(Number(id));
  await client.endAsync();
  clearTimeout(deadline);
}

/** Cuts a connection without a word, as the network would; mqtt.js connects again. */
export const cutConnection = (client: MqttClient): void => void client.stream.destroy();

/** Some socket errors (both addresses of localhost rejected) carry only a code. */
export const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message || String((error as NodeJS.ErrnoException).code ?? error.name) : String(error);
