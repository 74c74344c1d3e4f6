// Every name on a broker is built here and nowhere else.

/** Which groups there are and which event types each receives; `prefix` (BUS_PREFIX) stands before every name. */
export interface Topology {
  readonly prefix: string;
  readonly groups: Readonly<Record<string, readonly string[]>>;
}

/** The groups that receive events of this type. */
export const groupsFor = (topology: Topology, type: string): string[] =>
  Object.keys(topology.groups).filter((group) => topology.groups[group]?.includes(type));

// RabbitMQ
export const exchangeOf = (topology: Topology) => `${topology.prefix}.events`;
export const deadExchangeOf = (topology: Topology) => `${topology.prefix}.dead`;
export const queueOf = (topology: Topology, group: string) => `${topology.prefix}.${group}`;
export const deadQueueOf = (topology: Topology, group: string) => `${topology.prefix}.${group}.dead`;

// MQTT: the topics are in mqtt/topics.ts.
/** The id of the one MQTT session that a group's events wait in. */
export const sessionOf = (prefix: string, group: string) => `${prefix}-${group}`;
