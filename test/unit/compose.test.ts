// Checks the containers against the configuration and the routes, without a container engine.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { describeVariables, parseConfig } from '../../app/config.ts';
import { schemaOf } from '../../app/schemas.ts';
import { routesOfService } from '../../contracts/routes/index.ts';
import { operatorRoutes } from '../../contracts/routes/operations.ts';
import type { Route } from '../../contracts/routes/route.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import { ADMIN_SCHEMA } from '../../infra/operators/operator-actions.ts';
import { SCHEMA as QUEUE_SCHEMA } from '../../infra/queue/sql-backend.ts';

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
/** The additions of compose.jwt.yaml, with this secret. */
const AUTH_SECRET = 'a secret of at least 32 bytes, for tests';
const jwtContainers: Record<string, Container> = parse(
  read('compose.jwt.yaml').replaceAll(/\$\{AUTH_SECRET:\?[^}]*\}/g, AUTH_SECRET),
  { customTags: [{ tag: '!reset', collection: 'seq', resolve: () => 'none' }] },
).services;

const dockerfile = read('Dockerfile').replaceAll('\\\n', '');

/** Numbers become text, as in an environment. */
const asText = (environment: object) =>
  Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value)]));

/** The services that a container runs. */
const servicesIn = ({ image, command = [] }: Container) =>
  image === 'sluice' && command.includes('start') ? command.slice(command.indexOf('start') + 1) : [];
const ours = Object.entries(containers).filter(([, container]) => servicesIn(container).length > 0);

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

const pathsOf = (routes: Readonly<Record<string, Route>>) => Object.values(routes).map(({ path }) => path);

test('PostgreSQL has a role and a schema for each service, and the schemas that they share', () => {
  const sql = read('postgres-roles.sql');
  const namesIn = (list: string) =>
    new RegExp(`${list} CONSTANT text\\[\\] := ARRAY\\[(.*)\\];`).exec(sql)?.[1]?.replaceAll("'", '').split(', ');
  expect(namesIn('services')).toEqual(serviceNames.map(schemaOf));
  expect(namesIn('shared')).toEqual([ADMIN_SCHEMA, QUEUE_SCHEMA]);
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

  const imageEnv = Object.fromEntries(
    [...dockerfile.matchAll(/^ENV (.+)$/gm)].flatMap(([, line = '']) => line.split(' ').map((pair) => pair.split('='))),
  );

  test.each(ours)('says in words that %s needs no tokens, unless compose.jwt.yaml is added', (name, container) => {
    const { environment = {} } = container;
    expect(environment.AUTH_MODE).toBe('none');
    const withTokens = { ...environment, ...jwtContainers[name]?.environment };
    const config = parseConfig({ ...imageEnv, ...asText(withTokens) }, [name as ServiceName]);
    expect(config).toMatchObject({ AUTH_MODE: 'jwt', AUTH_SECRET });
    const { AUTH_MODE: _, ...unsaid } = environment;
    expect(() => parseConfig({ ...imageEnv, ...asText(unsaid) }, [name as ServiceName])).toThrow(
      'AUTH_MODE is missing',
    );
  });

  test('with compose.jwt.yaml, no port of a broker without passwords is published', () => {
    expect(containers.mosquitto?.ports).toHaveLength(1);
    expect(jwtContainers.mosquitto?.ports).toBe('none');
  });

  test.each(ours)('gives %s a valid configuration', (name, { environment = {} }) => {
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

  test.each(serviceNames)('proxies every route of %s to it', (name) => {
    const paths = pathsOf(routesOfService(name));
    expect(paths.length).toBeGreaterThan(0);
    for (const path of paths) expect(proxied(path.replaceAll(/:\w+/g, 'a.1:@-')), path).toBe(name);
  });

  test.each(serviceNames)("proxies the routes of %s's failed messages to it", (name) => {
    const paths = pathsOf(operatorRoutes).filter((path) => path.includes(':service'));
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
