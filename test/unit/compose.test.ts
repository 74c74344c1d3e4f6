// Checks the containers against the configuration and the routes, without a container engine.
import { readFileSync } from 'node:fs';
import { Router } from 'express';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { factsRoutes } from '../../app/admin/facts.ts';
import { failedMessagesRoutes } from '../../app/admin/failed-messages.ts';
import { type Config, describeVariables, parseConfig } from '../../app/config.ts';
import { schemaOf } from '../../app/schemas.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { type Bus, MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import type { Database } from '../../infra/database/port.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import type { MqttPublisher } from '../../infra/mqtt/port.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import { ADMIN_SCHEMA } from '../../infra/operators/operator-actions.ts';
import type { PacedQueues } from '../../infra/queue/port.ts';
import type { AnyService, ServiceContext } from '../../infra/runtime/service.ts';
import { couponService } from '../../services/coupon/index.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { notifyService } from '../../services/notify/index.ts';
import { orderService } from '../../services/order/index.ts';
import type { PaymentProvider } from '../../services/order/payments/port.ts';
import { pointsService } from '../../services/points/index.ts';

interface Container {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly volumes?: readonly string[];
  readonly build?: unknown;
}

const read = (name: string) => readFileSync(new URL(`../../infra/deploy/${name}`, import.meta.url), 'utf8');
/** Replaces `${NAME:-default}` with the default, as Compose does for an unset variable. */
const withDefaults = (text: string) => text.replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1');

const containers: Record<string, Container> = parse(withDefaults(read('compose.yaml')), { merge: true }).services;
const dockerfile = read('Dockerfile').replaceAll('\\\n', '');

/** Numbers become text, as in an environment. */
const asText = (environment: object) =>
  Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value)]));

/** The services that a container runs. */
const servicesIn = ({ image, command = [] }: Container) =>
  image === 'sluice' && command.includes('start') ? command.slice(command.indexOf('start') + 1) : [];
const ours = Object.entries(containers).filter(([, container]) => servicesIn(container).length > 0);

/** Dependencies of the routes, which are not used because no request is made. */
const unused = {
  settings: parseConfig({}),
  database: { kind: 'postgres', background: { kind: 'postgres' } } as Database,
  bus: {} as Bus,
  mqtt: {} as MqttPublisher,
  queues: undefined,
  overload: { rejected: { inFlight: 0, lag: 0 }, lagMs: 0 },
  metrics: new Metrics(),
  log: pino({ level: 'silent' }),
  wakeWorker: () => {},
};

/** Evaluates the map of nginx.conf: the first pattern that matches, otherwise the default. */
function proxyOf(conf: string): (path: string) => string | undefined {
  const map = /map \$uri \$service \{([^}]*)\}/.exec(conf)?.[1] ?? '';
  const lines = [...map.matchAll(/^\s*(?:~\*(\S+)|default)\s+(\S+);$/gm)];
  return (path) => {
    for (const [, pattern = '', service = ''] of lines) {
      const match = new RegExp(pattern, 'i').exec(path);
      if (match) return service.startsWith('$') ? match.groups?.[service.slice(1)] : service;
    }
    return undefined;
  };
}

function routesByService(): Record<ServiceName, string[]> {
  const create: Record<ServiceName, (context: ServiceContext<Config>) => AnyService> = {
    order: (context) => orderService({ ...context, payments: {} as PaymentProvider }),
    points: pointsService,
    coupon: couponService,
    notify: notifyService,
    'flash-sale': (context) => flashSaleService({ ...context, queues: {} as PacedQueues }),
  };
  const routes = (name: ServiceName) => {
    const outbox = new Outbox(schemaOf(name));
    const service = create[name]({ ...unused, outbox });
    return routesOf((router) => {
      service.routes(router);
      factsRoutes(router, { name, service, database: unused.database, outbox });
    });
  };
  return Object.fromEntries(serviceNames.map((name) => [name, routes(name)])) as Record<ServiceName, string[]>;
}

function routesOf(declare: (router: Router) => void): string[] {
  const router = Router();
  declare(router);
  return router.stack.flatMap(({ route }) => route?.path ?? []);
}

test('the roles of PostgreSQL have rights on the schema of each service, and on the one that they share', () => {
  const names =
    read('postgres-roles.sql')
      .match(/'(\w+)'(?=,|\n)/g)
      ?.map((name) => name.slice(1, -1)) ?? [];
  expect(names.filter((name) => name.startsWith('sluice_') && !/_(app|migrator)$/.test(name))).toEqual([
    ...serviceNames.map(schemaOf),
    ADMIN_SCHEMA,
  ]);
});

describe('compose.yaml', () => {
  test('runs every service in a container of its own, under its name', () => {
    expect(ours.map(([name]) => name)).toEqual(serviceNames);
    for (const [name, container] of ours) {
      expect(container.command).toEqual(['node', 'dist/cli/main.js', 'start', name]);
      expect(container.build).toBeDefined();
    }
    expect(dockerfile).toContain('CMD ["node", "dist/cli/main.js", "start"]');
  });

  test.each(ours)('gives %s a valid configuration', (name, { environment = {} }) => {
    const imageEnv = Object.fromEntries(
      [...dockerfile.matchAll(/^ENV (.+)$/gm)].flatMap(([, line = '']) =>
        line.split(' ').map((pair) => pair.split('=')),
      ),
    );
    const config = parseConfig({ ...imageEnv, ...asText(environment) }, [name as ServiceName]);
    expect(config).toMatchObject({ HOST: '0.0.0.0', PORT: 3000, busKind: 'rabbitmq' });

    const known = describeVariables().map((variable) => variable.name);
    for (const variable of Object.keys(environment)) expect(known).toContain(variable);
    for (const url of [config.DATABASE_URL, config.AMQP_URL, config.MQTT_URL]) {
      expect(containers).toHaveProperty(new URL(url ?? '').hostname);
    }
  });

  test('gives the order service a payment provider at the configured address, with a working health check', () => {
    const { PAYMENT_URL } = containers.order?.environment ?? {};
    const { hostname, port } = new URL(PAYMENT_URL ?? '');
    // The image's health check uses its PORT, 3000.
    expect(port).toBe('3000');
    expect(containers[hostname]).toMatchObject({
      image: 'sluice',
      command: ['node', 'dist/cli/main.js', 'payment-provider', '--port', port],
      volumes: [`${hostname}:/data`],
    });
  });

  test.each(Object.entries(containers))('pins the image of %s to a major version', (_, { image, build }) => {
    if (build === undefined) expect(image).toMatch(/^[a-z/-]+:\d+(-[a-z]+)?$/);
  });

  test('builds its image from a pinned one, and does not run it as root', () => {
    for (const [, from] of dockerfile.matchAll(/^FROM (\S+)/gm)) expect(from).toMatch(/^node:\d+-slim$/);
    expect(dockerfile).toMatch(/^USER node$/m);
  });

  test.each(Object.entries(containers))(
    'publishes the ports of %s on the loopback interface only',
    (_, { ports = [] }) => {
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    },
  );

  test('limits RabbitMQ messages to twice the size of an event', () => {
    const [, limit] = /^max_message_size = (\d+)$/m.exec(read('rabbitmq.conf')) ?? [];
    expect(Number(limit)).toBe(2 * MAX_EVENT_BYTES);
    expect(containers.rabbitmq?.volumes).toContain('./rabbitmq.conf:/etc/rabbitmq/conf.d/20-sluice.conf:ro');
  });

  test('waits only for containers with a health check', () => {
    expect(dockerfile).toMatch(/^HEALTHCHECK .*\/healthz/m);
    for (const [name, { image, healthcheck, depends_on: needs = {} }] of Object.entries(containers)) {
      if (image !== 'sluice') expect(healthcheck, name).toBeDefined();
      for (const [needed, { condition }] of Object.entries(needs)) {
        expect(containers).toHaveProperty(needed);
        expect(condition).toBe('service_healthy');
      }
    }
  });
});

describe('nginx.conf', () => {
  const conf = read('nginx.conf');
  const proxied = proxyOf(conf);

  test.each(Object.entries(routesByService()))('proxies every route of %s to it', (name, paths) => {
    expect(paths.length).toBeGreaterThan(0);
    for (const path of paths) expect(proxied(path.replaceAll(/:\w+/g, 'a.1:@-')), path).toBe(name);
  });

  test.each(serviceNames)("proxies the routes of %s's failed messages to it", (name) => {
    const paths = routesOf((router) => failedMessagesRoutes(router, []));
    expect(paths.length).toBeGreaterThan(0);
    for (const path of paths) expect(proxied(path.replace(':service', name).replace(':id', '1'))).toBe(name);
  });

  test('proxies unknown paths to a service, which responds with a problem', () => {
    for (const path of ['/', '/healthz', '/users/a', '/users/a/b/points', '/failed-messages/x'])
      expect(proxied(path)).toBe('order');
  });

  test('uses the names and ports of the containers', () => {
    expect(conf).toContain('proxy_pass http://$service:3000;');
    expect(conf).toContain('listen 80;');
    expect(containers.proxy?.ports).toEqual(['127.0.0.1:3000:80']);
  });
});
