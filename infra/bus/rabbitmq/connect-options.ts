// The options of amqplib for parsed URLs.
import { credentials } from 'amqplib';
import type { AmqpServer } from './url.ts';

/** Every field, so that no field of the previous node stays. */
export const fieldsOf = (server: AmqpServer) => ({
  protocol: server.tls ? 'amqps' : 'amqp',
  hostname: server.host,
  port: server.port,
  username: server.user,
  password: server.password,
  vhost: encodeURIComponent(server.vhost), // amqplib decodes it
  heartbeat: server.heartbeatSeconds,
  channelMax: server.channelMax,
  frameMax: server.frameMax,
});

/** The nodes share them (url.ts). amqplib adds each node's name for its certificate. */
export function socketOptionsOf(nodes: readonly AmqpServer[]) {
  const { connectionTimeoutMs: timeout, external } = nodes[0] as AmqpServer;
  return {
    timeout,
    ...nodes.find(({ tls }) => tls !== undefined)?.tls,
    ...(external && { credentials: credentials.external() }),
  };
}
