// Publishing to the MQTT broker, embedded or external. Subscribing to events is the bus adapter's business (bus/mqtt/).
import type { Health } from '../runtime/health.ts';

interface PublishOptions {
  readonly qos: 0 | 1 | 2;
  readonly retain?: boolean;
}

export interface MqttPublisher {
  /**
   * QoS 1 and 2: resolves once the broker has stored the message; rejects where it is away or silent for the timeout.
   * QoS 0: resolves at once, and drops the message while the broker is away or slow to read (bounded, lossy by design).
   */
  publish(topic: string, payload: string, options: PublishOptions): Promise<void>;
  health(): Health;
  close(): Promise<void>;
}
