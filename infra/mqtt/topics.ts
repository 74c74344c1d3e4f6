// Every MQTT topic is built here; `prefix` is BUS_PREFIX.

/** Dots in a type become slashes; RabbitMQ's plugin would turn them into slashes anyway. */
const levels = (type: string) => type.replaceAll('.', '/');
export const eventTopic = (prefix: string, type: string) => `${prefix}/events/${levels(type)}`;
/** A group sends itself messages on this topic, to see whether its session delivers. */
export const probeTopic = (prefix: string, group: string) => `${prefix}/probes/${group}`;
export const liveTopic = (prefix: string, type: string) => `${prefix}/live/${levels(type)}`;
export const logTopic = (prefix: string, service: string) => `${prefix}/logs/${service}`;
export const presenceTopic = (prefix: string, service: string, instance: string) =>
  `${prefix}/services/${service}/${instance}`;
/** Percent-encoded, dots too, so that any user id is exactly one topic level without wildcards. */
export const userTopic = (prefix: string, userId: string) =>
  `${prefix}/users/${encodeURIComponent(userId).replaceAll('.', '%2E')}/notifications`;

/**
 * Topics on which checks of the broker publish, `id` being a check's own. They stand below those of the system, so the
 * same access rules apply, and no client of the system subscribes to them.
 */
export const checkTopics = (prefix: string, id: string) => ({
  events: `${prefix}/events/check/${id}`,
  notifications: `${prefix}/users/${id}/check`,
  presence: `${prefix}/services/check/${id}/0`,
  logs: `${prefix}/logs/check/${id}`,
});
