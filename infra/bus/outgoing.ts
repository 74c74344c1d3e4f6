// What every adapter checks before it publishes an event.
import { BusError } from '../mqtt/port.ts';
import { MAX_EVENT_BYTES, type OutgoingEvent } from './port.ts';
import { groupsFor, type Topology } from './topology.ts';

/** Why the event is too large, or undefined. */
export function sizeError({ type, body }: OutgoingEvent): BusError | undefined {
  const bytes = Buffer.byteLength(body);
  if (bytes <= MAX_EVENT_BYTES) return undefined;
  return new BusError('oversized', `${type} has ${bytes} bytes, allowed ${MAX_EVENT_BYTES}`);
}

/** Why a transport that does not itself report events without a subscriber may not take this one, or undefined. */
export function publishError(topology: Topology, event: OutgoingEvent): BusError | undefined {
  const tooLarge = sizeError(event);
  if (tooLarge || groupsFor(topology, event.type).length > 0) return tooLarge;
  return new BusError('unroutable', `no group subscribes to ${event.type}`);
}
