// How a relay publishes the rows of each channel.
import type { Bus, OutgoingEvent } from '../bus/port.ts';
import type { MqttPublisher } from '../mqtt/port.ts';
import { userTopic } from '../mqtt/topics.ts';
import type { EventCatalogue } from './catalogue.ts';
import { writeEvent } from './envelope.ts';
import type { OutboxRow } from './outbox.ts';
import type { Unpublished } from './relay.ts';

export interface BusPublisherOptions {
  readonly bus: Bus;
  readonly catalogue: EventCatalogue;
  /** The `source` of the events, such as `/services/order`. */
  readonly source: string;
  /** Called for each event that the broker has confirmed. */
  readonly onPublished: (event: OutgoingEvent) => void;
}

/** Channel `bus`: each row becomes an event on the bus. */
export async function publishToBus(
  { bus, catalogue, source, onPublished }: BusPublisherOptions,
  rows: readonly OutboxRow[],
): Promise<Unpublished[]> {
  const unpublished: Unpublished[] = [];
  const outgoing: { row: OutboxRow; event: OutgoingEvent }[] = [];
  for (const row of rows) {
    try {
      outgoing.push({ row, event: writeEvent(catalogue, row, source) });
    } catch (error) {
      unpublished.push({ row, error: (error as Error).message, transportDown: false });
    }
  }
  // A resent event may be in the outbox twice; publishing it once is enough.
  const events = [...new Map(outgoing.map(({ event }) => [event.id, event])).values()];
  const rejected = new Map((await bus.publish(events)).map(({ id, error }) => [id, error]));
  for (const { row, event } of outgoing) {
    const error = rejected.get(event.id);
    if (error) {
      const transportDown = error.code === 'unavailable' || error.code === 'unconfirmed';
      unpublished.push({ row, error: error.message, transportDown });
    } else onPublished(event);
  }
  return unpublished;
}

/** Channel `user`: the data of each row goes to its user's MQTT topic, at least once. */
export async function publishToUsers(
  mqtt: MqttPublisher,
  prefix: string,
  rows: readonly OutboxRow[],
): Promise<Unpublished[]> {
  const published = await Promise.allSettled(
    rows.map((row) => mqtt.publish(userTopic(prefix, row.subject), row.data, { qos: 1 })),
  );
  return rows.flatMap((row, index) => {
    const outcome = published[index];
    return outcome?.status === 'rejected' ? [{ row, error: String(outcome.reason), transportDown: true }] : [];
  });
}
