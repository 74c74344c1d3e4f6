// The embedded MQTT broker as another thread sees it: it publishes by calls, and its clients connect over streams.
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { MqttClient } from 'mqtt';
import type { Health } from '../runtime/health.ts';
import { PortStream } from '../runtime/port-stream.ts';
import type { ThreadCalls } from '../runtime/thread-calls.ts';
import { type Connect, connectionDefaults } from './connect.ts';
import type { MqttPublisher, PublishOptions } from './port.ts';

/** The functions of the broker's thread that the other thread calls. */
export const publisherFunctions = (publisher: MqttPublisher) => ({
  publish: (topic: string, payload: string, options: PublishOptions) => publisher.publish(topic, payload, options),
});

/** Lossy messages that wait for the other thread; further ones are dropped. */
const MAX_LOSSY_WAITING = 1_000;

export class RemotePublisher implements MqttPublisher {
  readonly #calls: ThreadCalls<ReturnType<typeof publisherFunctions>>;
  #lossyWaiting = 0;

  constructor(calls: ThreadCalls<ReturnType<typeof publisherFunctions>>) {
    this.#calls = calls;
  }

  async publish(topic: string, payload: string, options: PublishOptions): Promise<void> {
    if (options.qos > 0 || options.retain) return this.#calls.call('publish', topic, payload, options);
    if (this.#lossyWaiting >= MAX_LOSSY_WAITING) return;
    this.#lossyWaiting++;
    void this.#calls
      .call('publish', topic, payload, options)
      .catch(() => undefined)
      .finally(() => this.#lossyWaiting--);
  }

  health(): Health {
    return { status: 'up' };
  }

  interrupt(): void {}

  async close(): Promise<void> {}
}

/** Connects over a port that `connections` hands to the broker's thread. The caller ends the connection. */
export const connectThrough =
  (connections: MessagePort): Connect =>
  (options) => {
    const open = () => {
      const { port1, port2 } = new MessageChannel();
      connections.postMessage(port2, [port2]);
      return new PortStream(port1);
    };
    // An error without a listener, such as a connection that ends, would be thrown.
    return new MqttClient(open, { ...connectionDefaults, ...options }).on('error', () => {});
  };
