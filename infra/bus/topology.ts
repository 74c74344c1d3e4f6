// Every name on RabbitMQ, and of MQTT sessions, is built here. MQTT topics are built in mqtt/topics.ts.

/** The groups and the event types that each receives; every name begins with `prefix` (BUS_PREFIX). */
export interface Topology {
  readonly prefix: string;
  readonly groups: Readonly<Record<string, readonly string[]>>;
}

/** The groups that receive events of this type. */
export const groupsFor = (topology: Topology, type: string): string[] =>
  Object.keys(topology.groups).filter((group) => topology.groups[group]?.includes(type));

export const exchangeOf = (topology: Topology) => `${topology.prefix}.events`;
export const deadExchangeOf = (topology: Topology) => `${topology.prefix}.dead`;
export const queueOf = (topology: Topology, group: string) => `${topology.prefix}.${group}`;
export const deadQueueOf = (topology: Topology, group: string) => `${topology.prefix}.${group}.dead`;

/** The client id of the one MQTT session that keeps a group's events. */
export const sessionOf = (prefix: string, group: string) => `${prefix}-${group}`;
