// Events as a service publishes them.
import { v7 as uuidv7 } from 'uuid';
import type { EventData, EventType } from '../../contracts/events.ts';
import type { OutgoingEvent } from '../../infra/bus/port.ts';

export function outgoingEvent<T extends EventType>(
  type: T,
  orderId: string,
  data: EventData<T>,
  id = uuidv7(),
): OutgoingEvent {
  const envelope = {
    specversion: '1.0',
    id,
    source: '/services/order',
    type,
    subject: orderId,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data,
  };
  return { id, type, body: JSON.stringify(envelope) };
}

export function orderPlaced(id = uuidv7()): OutgoingEvent {
  const orderId = uuidv7();
  const data = { orderId, userId: 'alice', currency: 'GBP', total: 5_997, itemCount: 3 };
  return outgoingEvent('order.placed', orderId, data, id);
}

/** An order.placed as a message. */
export const placed = (id: string): Buffer => Buffer.from(orderPlaced(id).body);
