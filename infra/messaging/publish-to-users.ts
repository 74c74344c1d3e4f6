import type { MqttPublisher } from '../mqtt/port.ts';
import { userTopic } from '../mqtt/topics.ts';
import type { ClaimedRow } from './outbox.ts';
import type { Unpublished } from './relay.ts';

/** What the relay of channel `user` does: each text to its user's MQTT topic, at least once. */
export async function publishToUsers(
  mqtt: MqttPublisher,
  prefix: string,
  rows: readonly ClaimedRow[],
): Promise<Unpublished[]> {
  const published = await Promise.allSettled(
    rows.map((row) => mqtt.publish(userTopic(prefix, row.subject), row.data, { qos: 1 })),
  );
  return rows.flatMap((row, index) => {
    const outcome = published[index];
    return outcome?.status === 'rejected' ? [{ row, error: String(outcome.reason), transportDown: true }] : [];
  });
}
