// Every MQTT topic is built here and nowhere else; `prefix` (BUS_PREFIX) stands before every one.
/** Dots in a type become slashes; RabbitMQ's plugin would turn them into slashes anyway. */
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
