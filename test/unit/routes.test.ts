// The declarations of the routes against the router that a process serves, without a database.
import type { Router } from 'express';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { serveMqttAuth } from '../../app/access/mqtt-auth.ts';
import { serveSession } from '../../app/access/session.ts';
import { serveAudit } from '../../app/admin/audit.ts';
import { serveFailedMessages } from '../../app/admin/failed-messages.ts';
import { serveHistory, serveHistoryPart } from '../../app/admin/history.ts';
import { serveOperations } from '../../app/admin/operations.ts';
import { serveOperatorActions } from '../../app/admin/operator-actions.ts';
import { type Config, parseConfig } from '../../app/config.ts';
import { serveDocuments } from '../../app/documents/routes.ts';
import type { HistoryCollector } from '../../app/history/collector.ts';
import type { ServiceHistory } from '../../app/history/service-history.ts';
import { schemaOf } from '../../app/schemas.ts';
import { problems } from '../../contracts/problems.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import { parameterNames, type Route } from '../../contracts/routes/route.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import type { Database } from '../../infra/database/port.ts';
import { createApp } from '../../infra/http/app.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import type { PacedQueues } from '../../infra/queue/port.ts';
import type { AnyService, ServiceContext } from '../../infra/runtime/service.ts';
import { couponService } from '../../services/coupon/index.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { notifyService } from '../../services/notify/index.ts';
import { orderService } from '../../services/order/index.ts';
import type { PaymentProvider } from '../../services/order/payments/port.ts';
import { pointsService } from '../../services/points/index.ts';

const log = pino({ level: 'silent' });
const metrics = new Metrics();

/** Not used, because no request is made. */
const unused = {
  settings: parseConfig({}),
  database: { kind: 'postgres', background: { kind: 'postgres' } } as Database,
  metrics,
  log,
  wakeWorker: () => {},
};

const create: Record<ServiceName, (context: ServiceContext<Config>) => AnyService> = {
  order: (context) => orderService({ ...context, payments: {} as PaymentProvider }),
  points: pointsService,
  coupon: couponService,
  notify: notifyService,
  'flash-sale': (context) => flashSaleService({ ...context, queues: {} as PacedQueues }),
};

/** The routes of a router, such as `get /orders/:id`. */
function servedRoutes(): string[] {
  const app = createApp(log, (api) => {
    for (const name of serviceNames) {
      const outbox = new Outbox(schemaOf(name));
      const service = create[name]({ ...unused, outbox });
      service.routes(api);
      serveAudit(api, { name, service, database: unused.database, outbox });
      serveHistoryPart(api, { name } as ServiceHistory);
    }
    serveHistory(api, {} as HistoryCollector);
    serveFailedMessages(api, []);
    serveOperatorActions(api, unused.database);
    serveSession(api, undefined);
    serveMqttAuth(api, { verifier: undefined, prefix: 'sluice', mqttUrl: undefined, log });
    serveDocuments(api, {
      services: serviceNames,
      web: serviceNames,
      buses: ['local'],
      prefix: 'sluice',
      withTokens: false,
    });
    serveOperations(api, {
      runners: [],
      database: unused.database,
      resources: async () => ({}),
      otherLoops: async () => [],
      overload: { rejected: { lag: 0, busy: 0 }, lagMs: 0 } as never,
      metrics,
      otherMetrics: async () => [],
      serving: () => true,
    });
  });
  const served = app.router.stack.flatMap(({ handle }) => ('stack' in handle ? (handle as Router).stack : []));
  return served.flatMap(({ route }) =>
    // `undefined`: the handler of all other methods.
    [...new Set(route?.stack.map(({ method }) => method))].flatMap((method) =>
      method === undefined ? [] : [`${method} ${route?.path}`],
    ),
  );
}

const declared = Object.values(routesOf());
const nameOf = ({ method, path }: Route) => `${method} ${path}`;

test('every route of the router is declared, and every declared route is served', () => {
  expect(servedRoutes().sort()).toEqual(declared.map(nameOf).sort());
});

describe.for(declared.map((route) => [nameOf(route), route] as const))('%s', ([, route]) => {
  test('declares each parameter of its path', () => {
    expect(Object.keys(route.params ?? {})).toEqual(parameterNames(route.path));
  });

  test('says whose data it is about', () => {
    const same = ['get /flash-sales', 'get /flash-sales/:id', 'get /session'];
    expect(route.userIn !== undefined).toBe(route.access === 'buyer' && !same.includes(nameOf(route)));
    const { params, query, body } = route;
    const fields = { params, query: (query as z.ZodObject)?.shape, body: (body?.schema as z.ZodObject)?.shape };
    for (const [part, names] of Object.entries(fields))
      expect('userId' in (names ?? {}), part).toBe(route.userIn === part);
  });

  test('says what each of its responses means', () => {
    const responses = Object.entries(route.responses);
    expect(responses.length).toBeGreaterThan(0);
    for (const [status, { about, json, media }] of responses) {
      expect(about, status).toMatch(/[.]$/);
      expect(json ?? media, status).toBeDefined();
    }
    for (const name of route.problems ?? []) expect(problems).toHaveProperty(name);
  });
});

/** The refinements in a schema that no description tells of, by path: JSON Schema cannot express them. */
function undescribed(schema: z.ZodType, path = '', described = false): string[] {
  const isDescribed = described || z.globalRegistry.get(schema)?.description !== undefined;
  const { checks = [] } = schema.def as { checks?: readonly z.core.$ZodCheck[] };
  const own = checks.some(({ _zod: { def } }) => def.check === 'custom') && !isDescribed ? [path] : [];
  const inside = (inner: unknown, name: string, outer = false) => undescribed(inner as z.ZodType, name, outer);
  if (schema instanceof z.ZodObject)
    return [...own, ...Object.entries(schema.shape).flatMap(([name, field]) => inside(field, `${path}.${name}`))];
  if (schema instanceof z.ZodArray) return [...own, ...inside(schema.element, `${path}[]`)];
  if (schema instanceof z.ZodUnion) return [...own, ...schema.options.flatMap((option) => inside(option, path))];
  if (schema instanceof z.ZodRecord) return [...own, ...inside(schema.valueType, `${path}.*`)];
  if (schema instanceof z.ZodPipe)
    return [...own, ...inside(schema.in, path, isDescribed), ...inside(schema.out, path, isDescribed)];
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault)
    return [...own, ...inside(schema.unwrap(), path, isDescribed)];
  return own;
}

test('every refinement of a schema is described', () => {
  const schemas = Object.entries(routesOf()).flatMap(([name, { query, body, responses }]: [string, Route]) => [
    [`query of ${name}`, query] as const,
    [`body of ${name}`, body?.schema] as const,
    ...Object.entries(responses).map(([status, { json }]) => [`${status} of ${name}`, json] as const),
  ]);
  expect(
    schemas.flatMap(([name, schema]) => (schema ? undescribed(schema).map((path) => `${name}${path}`) : [])),
  ).toEqual([]);
});
