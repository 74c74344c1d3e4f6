// The MQTT broker in an AsyncAPI document: one server for each kind of connection, because AsyncAPI describes the client
// id, the session and the Last Will of a connection with its server.
import { WEBSOCKET_PATH } from '../../mqtt/port.ts';
import type { Server } from './types.ts';

export const MQTT_SERVER = 'mqtt';
export const WEBSOCKET_SERVER = 'mqtt-websocket';
export const MQTT_BINDING = { bindingVersion: '0.2.0' } as const;

export const brokerServer = ({ description, bindings }: Pick<Server, 'description' | 'bindings'>): Server => ({
  host: '{mqttHost}:{mqttPort}',
  protocol: 'mqtt',
  protocolVersion: '3.1.1',
  description,
  variables: {
    mqttHost: { default: 'localhost', description: 'The host in MQTT_URL; of the embedded broker, HOST.' },
    mqttPort: { default: '1883', description: 'The port in MQTT_URL; of the embedded broker, MQTT_PORT.' },
  },
  ...(bindings === undefined ? {} : { bindings }),
});

/** For clients, and for all publishing of the services. */
export const clientServers = (): Readonly<Record<string, Server>> => ({
  [MQTT_SERVER]: brokerServer({
    description:
      'The broker at MQTT_URL, or the embedded one. On the embedded one only the services publish, and other clients ' +
      'have clean sessions without a Last Will and cannot subscribe to the events.',
    bindings: { mqtt: { cleanSession: true, ...MQTT_BINDING } },
  }),
  [WEBSOCKET_SERVER]: {
    host: '{httpHost}:{httpPort}',
    pathname: WEBSOCKET_PATH,
    protocol: 'ws',
    protocolVersion: '13',
    description: 'The embedded broker over WebSocket (subprotocol mqtt), for pages of the same origin.',
    variables: {
      httpHost: { default: 'localhost', description: 'HOST.' },
      httpPort: { default: '3000', description: 'PORT.' },
    },
  },
});
