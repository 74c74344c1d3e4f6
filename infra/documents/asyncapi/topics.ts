// The MQTT topics that exist with every event bus: notifications to users, logs, presence and live copies of events.
import { KEEPALIVE_SECONDS } from '../../mqtt/port.ts';
import {
  liveTopic,
  logTopic,
  PRESENCE_EVERY_MS,
  PROCESS_LOG,
  presenceMessages,
  presenceTopic,
  publishedQos,
  userLevelTopic,
} from '../../mqtt/topics.ts';
import { brokerServer, clientServers, MQTT_BINDING, MQTT_SERVER, WEBSOCKET_SERVER } from './mqtt-server.ts';
import { messagesOf, operation, sendersOf, serverRef } from './parts.ts';
import type { Channel, Operation, Part, Scope } from './types.ts';

export const LOG_MESSAGE = 'log-lines';
export const PRESENCE_MESSAGE = 'presence';
export const NOTIFICATION_MESSAGE = 'notification';
const PRESENCE_SERVER = 'mqtt-presence';

const clients = [MQTT_SERVER, WEBSOCKET_SERVER].map(serverRef);
const delivery = (qos: 0 | 1 | 2, retain = false) => ({ bindings: { mqtt: { qos, retain, ...MQTT_BINDING } } });

/** `notifier`: the service that notifies users; it may be outside the scope. */
export function mqttTopics(scope: Scope, notifier: string | undefined): Part {
  const parts = [
    ...(notifier !== undefined && scope.services.includes(notifier) ? [notifications(scope, notifier)] : []),
    logs(scope),
    presence(scope),
    ...live(scope),
  ];
  return {
    servers: { ...clientServers(), [PRESENCE_SERVER]: presenceServer(scope) },
    channels: Object.fromEntries(parts.map(({ name, channel }) => [name, channel])),
    operations: Object.assign({}, ...parts.map(({ operations }) => operations)) as Part['operations'],
  };
}

interface Topic {
  readonly name: string;
  readonly channel: Channel;
  readonly operations: Record<string, Operation>;
}

function topic(name: string, channel: Channel, senders: readonly string[], more: Omit<Sending, 'title'>): Topic {
  const send = (service: string) =>
    operation('send', service, [name, channel], { title: `${service} publishes on ${name}`, ...more });
  return {
    name,
    channel,
    operations: Object.fromEntries(senders.map((service) => [`${name}.${service}.send`, send(service)])),
  };
}
type Sending = Pick<Operation, 'title' | 'description' | 'bindings'>;

function notifications({ topology: { prefix } }: Scope, notifier: string): Topic {
  const channel: Channel = {
    address: userLevelTopic(prefix, '{userId}'),
    title: 'The notifications of a user',
    description:
      'What the user is notified of, at least once. A client that was away reads what it missed over HTTP, or has a ' +
      'session of its own (clean session: false) on an external broker. The embedded broker allows subscriptions to the ' +
      'topic of one user, and not to those of all.',
    servers: clients,
    parameters: {
      userId: { description: 'The id of the user, percent-encoded, with each dot as %2E.' },
    },
    messages: messagesOf([NOTIFICATION_MESSAGE]),
  };
  return topic('notifications', channel, [notifier], delivery(publishedQos.user));
}

function logs({ topology: { prefix }, services }: Scope): Topic {
  const channel: Channel = {
    address: logTopic(prefix, '{service}'),
    title: 'The log of a service',
    description: 'Batches of log lines, bounded and lossy by design: a slow broker never slows a service.',
    servers: clients,
    parameters: {
      service: {
        description: `The service; ${PROCESS_LOG} for lines of the process itself.`,
        enum: [...services, PROCESS_LOG],
      },
    },
    messages: messagesOf([LOG_MESSAGE]),
  };
  return topic('logs', channel, services, delivery(publishedQos.log));
}

function presence({ topology: { prefix }, services }: Scope): Topic {
  const { running, lost } = presenceMessages;
  const channel: Channel = {
    address: presenceTopic(prefix, '{service}', '{instance}'),
    title: 'The presence of a service',
    description:
      `\`${running}\`, retained, and repeated every ${PRESENCE_EVERY_MS / 1_000} s; \`${lost}\` as Last Will; an ` +
      `empty message, which clears the topic, after a clean stop. The embedded broker needs no Last Will: it ` +
      'clears the topics when it starts.',
    servers: [...clients, serverRef(PRESENCE_SERVER)],
    parameters: {
      service: { description: 'The service.', enum: services },
      instance: { description: 'Distinguishes the processes that run the service.' },
    },
    messages: messagesOf([PRESENCE_MESSAGE]),
  };
  return topic('presence', channel, services, {
    description: 'QoS 1 by the embedded broker and in the Last Will, QoS 0 on the connection of an external broker.',
    ...delivery(0, true),
  });
}

function presenceServer({ topology: { prefix } }: Scope) {
  const topicOfAny = presenceTopic(prefix, '{service}', '{instance}');
  const lastWill = { topic: topicOfAny, qos: 1, message: presenceMessages.lost, retain: true };
  return brokerServer({
    description: 'The connection of each running service that carries its Last Will; only with MQTT_URL.',
    bindings: { mqtt: { cleanSession: true, keepAlive: KEEPALIVE_SECONDS, lastWill, ...MQTT_BINDING } },
  });
}

/** A topic for each type of event that the services send. */
function live(scope: Scope): Topic[] {
  const types = [...new Set(scope.services.flatMap((service) => scope.emissions[service] ?? []))];
  return types.map((type) => {
    const channel: Channel = {
      address: liveTopic(scope.topology.prefix, type),
      title: `Live copies of ${type}`,
      description: 'A copy of each published event, for people who watch. Lossy, and not part of any guarantee.',
      servers: clients,
      messages: messagesOf([type]),
    };
    return topic(`live.${type}`, channel, sendersOf(scope, type), delivery(publishedQos.live));
  });
}
