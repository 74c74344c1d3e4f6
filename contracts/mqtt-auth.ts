// The routes of /mqtt-auth: what RabbitMQ's plugin rabbitmq_auth_backend_http sends. Its versions send different further
// fields, which are ignored.
import { z } from 'zod';

const username = z.string().describe('The user as in topics: percent-encoded, dots too.');
const tags = z
  .string()
  .default('')
  .describe('What the response to the login said about the user: `operator`, or nothing.');

export const loginRequest = z.object({
  username,
  password: z.string().optional().describe('The token of the user.'),
  client_id: z.string().optional().describe('Of MQTT. Clients of other protocols have none, and may not log in.'),
});

export const virtualHostRequest = z.object({ username, vhost: z.string() });

export const resourceRequest = z.object({
  username,
  tags,
  resource: z.string().describe('`queue` or `exchange`.'),
  name: z.string(),
  permission: z.string().describe('`configure`, `write` or `read`.'),
});

export const topicRequest = z.object({
  username,
  tags,
  name: z.string().describe('The exchange.'),
  permission: z.string().describe('`write` or `read`.'),
  routing_key: z.string().describe('The topic or filter in the form of AMQP, with dots for slashes and `*` for `+`.'),
});
