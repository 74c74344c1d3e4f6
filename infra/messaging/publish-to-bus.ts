// What the relay of channel `bus` does: each row becomes an event on the wire.
import type { Bus, OutgoingEvent } from '../bus/port.ts';
import type { EventCatalogue } from './catalogue.ts';
import { writeEvent } from './envelope.ts';
import type { ClaimedRow } from './outbox.ts';
import type { Unpublished } from './relay.ts';

export interface BusPublisherOptions {
  readonly bus: Bus;
  readonly catalogue: EventCatalogue;
  /** The events' `source`, such as `/services/order`. */
  readonly source: string;
  /** Called for every event that the broker has confirmed. */
  readonly onPublished: (event: OutgoingEvent) => void;
}

export async function publishToBus(
  { bus, catalogue, source, onPublished }: BusPublisherOptions,
  rows: readonly ClaimedRow[],
): Promise<Unpublished[]> {
  const unpublished: Unpublished[] = [];
  const outgoing: { row: ClaimedRow; event: OutgoingEvent }[] = [];
  for (const row of rows) {
    try {
      outgoing.push({ row, event: writeEvent(catalogue, row, source) });
    } catch (error) {
      unpublished.push({ row, error: (error as Error).message, transportDown: false });
    }
  }
  // An answer that was asked for again may stand in the outbox twice; once is enough.
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
