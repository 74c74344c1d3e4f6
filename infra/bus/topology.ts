// Which groups receive which events, and every name on RabbitMQ and of MQTT sessions. MQTT topics: mqtt/topics.ts.
import { BusError } from '../mqtt/port.ts';
import { MAX_EVENT_BYTES, type OutgoingEvent } from './port.ts';

/** The groups and the event types that each receives; every name begins with `prefix` (BUS_PREFIX). */
export interface Topology {
  readonly prefix: string;
  readonly groups: Readonly<Record<string, readonly string[]>>;
  /**
   * By group and type: the routing key of a group that receives only the events with this key, such as
   * `order.placed.ticket`, and not all of the type. MQTT delivers all, and the group's handler skips the others.
   */
  readonly narrowed?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export const exchangeOf = (topology: Topology) => `${topology.prefix}.events`;
export const deadExchangeOf = (topology: Topology) => `${topology.prefix}.dead`;
export const queueOf = (topology: Topology, group: string) => `${topology.prefix}.${group}`;
export const deadQueueOf = (topology: Topology, group: string) => `${topology.prefix}.${group}.dead`;
/** The client id of the one MQTT session that keeps a group's events. */
export const sessionOf = (prefix: string, group: string) => `${prefix}-${group}`;

/** The event types of a group. Throws a RangeError if there is no such group. */
export function typesOf({ groups }: Topology, group: string): readonly string[] {
  const types = groups[group];
  if (!types) throw new RangeError(`the topology has no group ${group}`);
  return types;
}

/** Whether a group receives an event of this type and routing key. */
export function receives({ groups, narrowed }: Topology, group: string, event: OutgoingEvent): boolean {
  const key = narrowed?.[group]?.[event.type];
  return groups[group]?.includes(event.type) === true && (key === undefined || key === event.routingKey);
}

/** The routing keys with which events of a type are published: the type, and the keys of narrowed groups. */
export const routingKeysOf = ({ narrowed = {} }: Topology, type: string): string[] => [
  ...new Set([type, ...Object.values(narrowed).flatMap((keys) => keys[type] ?? [])]),
];

/**
 * The routing keys that a group's queue is bound with, and those that 0.2.0 bound in place of them. `#` stands for
 * zero or more words.
 */
export function bindingsOf(topology: Topology, group: string): { bound: string[]; obsolete: string[] } {
  const { groups, narrowed = {} } = topology;
  const types = groups[group] ?? [];
  const obsolete = types.filter((type) => Object.values(narrowed).some((keys) => Object.hasOwn(keys, type)));
  const bound = types.map((type) => narrowed[group]?.[type] ?? (obsolete.includes(type) ? `${type}.#` : type));
  return { bound, obsolete };
}

/** Why the event is too large, or undefined. */
export function sizeError({ type, body }: OutgoingEvent): BusError | undefined {
  const bytes = Buffer.byteLength(body);
  if (bytes <= MAX_EVENT_BYTES) return undefined;
  return new BusError('oversized', `${type} has ${bytes} bytes, allowed ${MAX_EVENT_BYTES}`);
}

/**
 * The error of an event that is too large or that no group receives, or undefined. For transports that do not report
 * the latter themselves.
 */
export function publishError(topology: Topology, event: OutgoingEvent): BusError | undefined {
  const error = sizeError(event);
  if (error || Object.keys(topology.groups).some((group) => receives(topology, group, event))) return error;
  return new BusError('unroutable', `no group subscribes to ${event.type}`);
}
