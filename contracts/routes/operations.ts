import { z } from 'zod';
import {
  discardRequest,
  errorGroupsPage,
  failedMessageDetails,
  failedMessagesPage,
  failedMessagesQuery,
  health,
  operatorActionsPage,
  operatorActionsQuery,
  readiness,
  retriedOne,
  retryOneQuery,
  retryOneRequest,
  retryPreview,
  retryProgress,
  retryQuery,
  retryResult,
} from '../operations.ts';
import { pageQuery } from '../pages.ts';
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

/** The routes of every process that serves a service, about what operators see and do. */
export const operatorRoutes = {
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
  groupFailedMessages: {
    method: 'get',
    path: '/failed-messages/:service/groups',
    summary: 'Group the failed messages of a service by type and error',
    access: 'operator',
    params: service,
    query: pageQuery,
    responses: { 200: { about: 'The groups with the newest messages first.', json: errorGroupsPage } },
  },
  readRetryProgress: {
    method: 'get',
    path: '/failed-messages/:service/retries/:run',
    summary: 'Read how far the messages of a run of retries are',
    access: 'operator',
    params: { ...service, run: idOf('run of retries') },
    responses: { 200: { about: 'How many messages wait, succeeded, and failed again.', json: retryProgress } },
  },
  readFailedMessage: {
    method: 'get',
    path: '/failed-messages/:service/:id',
    summary: 'Read a failed message',
    access: 'operator',
    params: message,
    responses: { 200: { about: 'The message and its last error.', json: failedMessageDetails } },
  },
  retryFailedMessage: {
    method: 'post',
    path: '/failed-messages/:service/:id/retry',
    summary: 'Retry a failed message, with corrected data if given',
    access: 'operator',
    params: message,
    query: retryOneQuery,
    body: { schema: retryOneRequest, optional: true },
    responses: { 202: { about: 'The message was given fresh attempts.', json: retriedOne } },
    problems: ['message-truncated', 'message-not-dead', 'message-not-correctable'],
  },
  discardFailedMessage: {
    method: 'post',
    path: '/failed-messages/:service/:id/discard',
    summary: 'Discard a dead message',
    description:
      'It is kept until its retention ends, and no longer counts as a failure. Repeating it changes nothing.',
    access: 'operator',
    params: message,
    body: { schema: discardRequest, example: { reason: 'the order was a test' } },
    responses: { 200: { about: 'The discarded message.', json: failedMessageDetails } },
    problems: ['message-not-dead'],
  },
  listOperatorActions: {
    method: 'get',
    path: '/operator-actions',
    summary: 'List the changes that operators have made',
    access: 'operator',
    query: operatorActionsQuery,
    responses: { 200: { about: 'The newest changes first.', json: operatorActionsPage } },
  },
} as const satisfies Record<string, Route>;
