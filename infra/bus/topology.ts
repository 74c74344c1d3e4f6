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

// MQTT. Dots in a type become slashes; RabbitMQ's plugin would turn them into slashes anyway.
const levels = (type: string) => type.replaceAll('.', '/');
export const eventTopic = (prefix: string, type: string) => `${prefix}/events/${levels(type)}`;
/** Where a group's session sends itself a message now and then, to see that it is delivered. */
export const probeTopic = (prefix: string, group: string) => `${prefix}/probes/${group}`;
export const liveTopic = (prefix: string, type: string) => `${prefix}/live/${levels(type)}`;
export const logTopic = (prefix: string, service: string) => `${prefix}/logs/${service}`;
export const presenceTopic = (prefix: string, service: string, instance: string) =>
  `${prefix}/services/${service}/${instance}`;
/** A user's topic. Percent-encoded, dots too, so that an id is always one level and no wildcard. */
export const userTopic = (prefix: string, userId: string) =>
  `${prefix}/users/${encodeURIComponent(userId).replaceAll('.', '%2E')}/notifications`;
/** The id of the one MQTT session that a group's events wait in. */
export const sessionOf = (prefix: string, group: string) => `${prefix}-${group}`;
