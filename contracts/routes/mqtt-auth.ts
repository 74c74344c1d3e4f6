import { loginRequest, resourceRequest, topicRequest, virtualHostRequest } from '../mqtt-auth.ts';
import type { Route } from './route.ts';

const decision = { 200: { about: '`allow` or `deny`.', media: ['text/plain'] } };
const description =
  'The token stands in the header `Authorization: Bearer`, or is the Basic password of the user `token`.';

/** What RabbitMQ asks about the clients of its MQTT plugin, by rabbitmq_auth_backend_http. Only with AUTH_MODE=jwt. */
export const mqttAuthRoutes = {
  mayLogIn: {
    method: 'post',
    path: '/mqtt-auth/user',
    summary: 'Tell RabbitMQ whether an MQTT client may connect',
    description,
    access: 'service',
    body: { schema: loginRequest, form: true },
    responses: { 200: { about: '`allow`, `allow operator` or `deny`.', media: ['text/plain'] } },
    problems: ['not-found'],
  },
  mayUseVirtualHost: {
    method: 'post',
    path: '/mqtt-auth/vhost',
    summary: 'Tell RabbitMQ whether an MQTT client may use a virtual host',
    description,
    access: 'service',
    body: { schema: virtualHostRequest, form: true },
    responses: decision,
    problems: ['not-found'],
  },
  mayUseResource: {
    method: 'post',
    path: '/mqtt-auth/resource',
    summary: 'Tell RabbitMQ whether an MQTT client may use a queue or an exchange',
    description,
    access: 'service',
    body: { schema: resourceRequest, form: true },
    responses: decision,
    problems: ['not-found'],
  },
  mayUseTopic: {
    method: 'post',
    path: '/mqtt-auth/topic',
    summary: 'Tell RabbitMQ whether an MQTT client may use a topic',
    description,
    access: 'service',
    body: { schema: topicRequest, form: true },
    responses: decision,
    problems: ['not-found'],
  },
} as const satisfies Record<string, Route>;
