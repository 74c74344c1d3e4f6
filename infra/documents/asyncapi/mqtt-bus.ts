// The event bus over MQTT in an AsyncAPI document: a topic for each event type, a session for each service.
import { sessionOf } from '../../bus/topology.ts';
import { KEEPALIVE_SECONDS } from '../../mqtt/port.ts';
import { eventTopic, probeTopic, publishedQos, SUBSCRIBED_QOS } from '../../mqtt/topics.ts';
import { brokerServer, MQTT_BINDING, MQTT_SERVER } from './mqtt-server.ts';
import { messagesOf, operation, receiversOf, sendersOf, serverRef, typesIn } from './parts.ts';
import type { Channel, Operation, Part, Scope, Server } from './types.ts';

export const PROBE_MESSAGE = 'probe';

const sessionServer = (service: string) => `mqtt-session-${service}`;
const published = (qos: 0 | 1 | 2) => ({ bindings: { mqtt: { qos, retain: false, ...MQTT_BINDING } } });
const subscribed = { bindings: { mqtt: { qos: SUBSCRIBED_QOS, ...MQTT_BINDING } } };

export function mqttBus(scope: Scope): Part {
  const { prefix } = scope.topology;
  const channels: Record<string, Channel> = {};
  const operations: Record<string, Operation> = {};
  for (const type of typesIn(scope)) {
    const name = `mqtt.${type}`;
    const receivers = receiversOf(scope, type);
    const channel: Channel = {
      address: eventTopic(prefix, type),
      title: `${type} over MQTT`,
      description: 'One message holds one event. The type is read from the event, never from the topic.',
      servers: [MQTT_SERVER, ...receivers.map(sessionServer)].map(serverRef),
      messages: messagesOf([type]),
    };
    channels[name] = channel;
    for (const service of sendersOf(scope, type))
      operations[`mqtt.${service}.send.${type}`] = operation('send', service, [name, channel], {
        title: `${service} publishes ${type}`,
        ...published(publishedQos.event),
      });
    for (const service of receivers)
      operations[`mqtt.${service}.receive.${type}`] = operation('receive', service, [name, channel], {
        title: `${service} receives ${type}`,
        description: 'The event is stored in the inbox before it is acknowledged.',
        ...subscribed,
      });
  }
  for (const service of scope.services) addProbe(service, probeTopic(prefix, service), { channels, operations });
  const servers = Object.fromEntries(
    scope.services.map((service) => [sessionServer(service), session(service, sessionOf(prefix, service))]),
  );
  return { servers, channels, operations };
}

function session(service: string, clientId: string): Server {
  return brokerServer({
    description:
      `The session that keeps the events of ${service}. A lock in the database decides which of its processes ` +
      'consumes the session.',
    bindings: { mqtt: { clientId, cleanSession: false, keepAlive: KEEPALIVE_SECONDS, ...MQTT_BINDING } },
  });
}

/** A service sends itself messages, to see whether its session delivers. */
function addProbe(service: string, address: string, { channels, operations }: Omit<Part, 'servers'>): void {
  const name = `mqtt.probe.${service}`;
  const channel: Channel = {
    address,
    title: `Probes of ${service}`,
    description: 'Only the service itself uses this topic: until its probe arrives, messages wait in its session.',
    servers: [MQTT_SERVER, sessionServer(service)].map(serverRef),
    messages: messagesOf([PROBE_MESSAGE]),
  };
  Object.assign(channels, { [name]: channel });
  Object.assign(operations, {
    [`mqtt.${service}.send-probe`]: operation('send', service, [name, channel], {
      title: `${service} sends itself a probe`,
      ...published(publishedQos.probe),
    }),
    [`mqtt.${service}.receive-probe`]: operation('receive', service, [name, channel], {
      title: `${service} receives its probe`,
      ...subscribed,
    }),
  });
}
