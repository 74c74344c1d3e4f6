// Every MQTT topic is built here; `prefix` is BUS_PREFIX. Below: how messages are published on them.

/** Dots in a type become slashes; RabbitMQ's plugin would turn them into slashes anyway. */
const levels = (type: string) => type.replaceAll('.', '/');
export const eventTopic = (prefix: string, type: string) => `${prefix}/events/${levels(type)}`;
/** A group sends itself messages on this topic, to see whether its session delivers. */
export const probeTopic = (prefix: string, group: string) => `${prefix}/probes/${group}`;
export const liveTopic = (prefix: string, type: string) => `${prefix}/live/${levels(type)}`;
export const logTopic = (prefix: string, service: string) => `${prefix}/logs/${service}`;
/** In a log topic, the name for lines that belong to no service. */
export const PROCESS_LOG = 'main';
export const presenceTopic = (prefix: string, service: string, instance: string) =>
  `${prefix}/services/${service}/${instance}`;
/** Percent-encoded, dots too, so that any user id is exactly one topic level without wildcards. */
export const userLevel = (userId: string) => encodeURIComponent(userId).replaceAll('.', '%2E');
export const userTopic = (prefix: string, userId: string) => userLevelTopic(prefix, userLevel(userId));
/** `level`: a user id as it stands in the topic, or a placeholder for it. */
export const userLevelTopic = (prefix: string, level: string) => `${prefix}/users/${level}/notifications`;

/** The quality of service with which messages are published, by kind of topic. */
export const publishedQos = { event: 2, probe: 1, user: 1, log: 0, live: 0 } as const;
/** The quality of service with which a group subscribes to events and probes. */
export const SUBSCRIBED_QOS = 1;

/** The messages of a service that runs, that was stopped cleanly (an empty one), and that lost its connection. */
export const presenceMessages = { running: 'online', stopped: '', lost: 'offline' } as const;
/** How often a service that runs says so. */
export const PRESENCE_EVERY_MS = 10_000;

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
