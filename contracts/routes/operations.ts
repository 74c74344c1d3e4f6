import { z } from 'zod';
import {
  failedMessage,
  failedMessagesPage,
  failedMessagesQuery,
  health,
  readiness,
  retriedOne,
  retryPreview,
  retryQuery,
  retryResult,
} from '../operations.ts';
import { serviceNames } from '../services.ts';
import { idOf, type Route } from './route.ts';

/** The routes of every process. */
export const processRoutes = {
  readHealth: {
    method: 'get',
    path: '/healthz',
    summary: 'Tell whether the process works',
    access: 'public',
    responses: {
      200: { about: 'It does its work.', json: health },
      503: { about: 'A service is stalled, and rebuilding it did not help; a restart may.', json: health },
    },
  },
  readReadiness: {
    method: 'get',
    path: '/readyz',
    summary: 'Tell whether the process can answer requests',
    access: 'public',
    responses: {
      200: { about: 'It can. Other parts may be degraded or down.', json: readiness },
      503: { about: 'It cannot yet, or it is stopping.', json: readiness, headers: ['Retry-After'] },
    },
  },
  readMetrics: {
    method: 'get',
    path: '/metrics',
    summary: 'Read the metrics',
    access: 'service',
    responses: { 200: { about: 'The text format of Prometheus.', media: ['text/plain'] } },
  },
} as const satisfies Record<string, Route>;

const service = { service: { schema: z.enum(serviceNames), what: 'service' } };
const message = { ...service, id: idOf('failed message') };

/** The routes of every process that serves a service, about the messages that its consumer could not handle. */
export const failedMessagesRoutes = {
  listFailedMessages: {
    method: 'get',
    path: '/failed-messages/:service',
    summary: 'List the failed messages of a service',
    access: 'operator',
    params: service,
    query: failedMessagesQuery,
    responses: { 200: { about: 'The newest messages first.', json: failedMessagesPage } },
  },
  retryFailedMessages: {
    method: 'post',
    path: '/failed-messages/:service/retry',
    summary: 'Retry the failed messages that match a filter',
    access: 'operator',
    params: service,
    query: retryQuery,
    responses: {
      202: { about: 'Messages were given fresh attempts.', json: retryResult },
      200: { about: 'A dry run: how many messages match.', json: retryPreview },
    },
  },
  readFailedMessage: {
    method: 'get',
    path: '/failed-messages/:service/:id',
    summary: 'Read a failed message',
    access: 'operator',
    params: message,
    responses: { 200: { about: 'The message and its last error.', json: failedMessage } },
  },
  retryFailedMessage: {
    method: 'post',
    path: '/failed-messages/:service/:id/retry',
    summary: 'Retry a failed message',
    access: 'operator',
    params: message,
    responses: { 202: { about: 'The message was given fresh attempts.', json: retriedOne } },
    problems: ['message-truncated'],
  },
} as const satisfies Record<string, Route>;
