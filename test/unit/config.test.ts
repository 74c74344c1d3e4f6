import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { describe, expect, test } from 'vitest';
import { describeVariables, parseConfig, renamedVariables } from '../../app/config.ts';
import { configurationDocs } from '../../app/configuration-docs.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { redactUrl } from '../../infra/runtime/server-url.ts';
import { ConfigError } from '../../infra/runtime/settings.ts';

const problemsOf = (env: NodeJS.ProcessEnv, services?: readonly ServiceName[]): readonly string[] => {
  try {
    parseConfig(env, services);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};

describe('the configuration', () => {
  test('needs nothing: anything without a URL runs embedded', () => {
    const config = parseConfig({});
    expect(config).toMatchObject({ HOST: '127.0.0.1', PORT: 3000, busKind: 'local' });
    expect([config.DATABASE_URL, config.AMQP_URL, config.MQTT_URL]).toEqual([undefined, undefined, undefined]);
  });

  test('reads a list of URLs', () => {
    const { SERVICES_URL } = parseConfig({ SERVICES_URL: 'http://points:3000, https://coupon/base' });
    expect(SERVICES_URL).toEqual(['http://points:3000', 'https://coupon/base']);
  });

  test.each(Object.values(routesOf()).map(({ path }) => path))('rejects a BASE_PATH that begins like %s', (path) => {
    const [, first = ''] = path.split('/');
    for (const basePath of [`/${first}`, `/${first.toUpperCase()}/eu`])
      expect(problemsOf({ BASE_PATH: basePath })).toEqual([
        expect.stringMatching(/BASE_PATH=.* that does not begin with/),
      ]);
    expect(parseConfig({ BASE_PATH: `/${first}s2` }).BASE_PATH).toBe(`/${first}s2`);
  });

  test('treats an empty variable as unset', () => {
    expect(parseConfig({ PORT: '', AMQP_URL: '' })).toEqual(parseConfig({}));
  });

  test.each([
    [{}, 'local'],
    [{ AMQP_URL: 'amqp://rabbitmq' }, 'rabbitmq'],
    [{ AMQP_URL: 'amqp://one:5672,amqp://me:a,b@two:5672, amqps://three' }, 'rabbitmq'],
    [{ EVENT_BUS: 'mqtt' }, 'mqtt'],
  ])('chooses the bus by the variables that are set: %j', (env, busKind) => {
    expect(parseConfig(env).busKind).toBe(busKind);
  });

  test.each([
    [{ PORT: '70000' }, 'PORT=70000 is not allowed: it must be an integer from 0 to 65535'],
    [{ PORT: '30.5' }, 'PORT=30.5 is not allowed: it must be an integer from 0 to 65535'],
    [{ PREFETCH: 'many' }, 'PREFETCH=many is not allowed: it must be an integer from 1 to 10000'],
    [{ EVENT_BUS: 'kafka' }, 'EVENT_BUS=kafka is not allowed: it must be one of: local, rabbitmq, mqtt'],
    [{ BUS_PREFIX: 'a/b' }, 'BUS_PREFIX=a/b is not allowed: it must be 1 to 40 characters of A-Z a-z 0-9 _ -'],
    [{ HOST: 'my host' }, 'HOST=my host is not allowed: it must be an address or host name'],
    [{ AMQP_URL: 'amqp://one,two' }, /^AMQP_URL=amqp:\/\/one,two is not allowed: .*, or several separated by commas$/],
    [{ AMQP_URL: 'amqp://one, http://two' }, /^AMQP_URL=amqp:\/\/one,http:\/\/two is not allowed/],
    [{ AMQP_URL: 'amqp://one,' }, /^AMQP_URL=amqp:\/\/one, is not allowed/],
    [{ AMQP_URL: 'amqp://me:50%x@host' }, /^AMQP_URL=amqp:\/\/me:\*\*\*@host is not allowed/],
    [
      { PAYMENT_URL: 'host:3010' },
      /^PAYMENT_URL=host:3010 is not allowed: it must be a URL such as http:\/\/host:3010/,
    ],
    [{ PAYMENT_URL: 'http://me:secret@host' }, /^PAYMENT_URL=http:\/\/me:\*\*\*@host.* without a user or password$/],
    [
      { SERVICES_URL: 'http://points:3000,coupon:3000' },
      /^SERVICES_URL=http:\/\/points:3000,coupon:3000 is not allowed: it must be a URL such as http:\/\/points:3000/,
    ],
    [
      { SERVICES_URL: 'http://one, http://me:secret@two' },
      /^SERVICES_URL=http:\/\/one,http:\/\/me:\*\*\*@two is not allowed/,
    ],
    [{ SERVICES_URL: Array(33).fill('http://one').join() }, /up to 32 separated by commas; it has 33 URLs$/],
    [{ PAYMENT_TIMEOUT_MS: '0' }, 'PAYMENT_TIMEOUT_MS=0 is not allowed: it must be an integer from 50 to 300000'],
    [{ MQTT_URL: 'localhost:1883' }, /^MQTT_URL=localhost:1883 is not allowed: it must be a URL such as mqtt:\/\//],
    [
      { DATABASE_URL: 'postgres://db:port' },
      /^DATABASE_URL=postgres:\/\/db:port is not allowed: it must be a URL such/,
    ],
  ])('rejects %j, naming the variable, its value and what is allowed', (env, problem) => {
    expect(problemsOf(env)).toEqual([typeof problem === 'string' ? problem : expect.stringMatching(problem)]);
  });

  test('reports every problem at once', () => {
    const problems = problemsOf({ PORT: '-1', LOG_LEVEL: 'loud', AMQP_URL: 'http://rabbitmq' });
    expect(problems.map((problem) => problem.split('=')[0])).toEqual(['PORT', 'AMQP_URL', 'LOG_LEVEL']);
  });

  test.each(Object.entries(renamedVariables))('rejects %s, which is now called %s', (former, current) => {
    const problem = `${former} is now called ${current}: rename it`;
    expect(problemsOf({ [former]: '30000', PORT: '-1' })).toEqual([expect.stringMatching(/^PORT=/), problem]);
    expect(problemsOf({ [former]: '' })).toEqual([]);
    expect(Object.keys(parseConfig({}))).toContain(current);
  });

  test('hides passwords', () => {
    const [problem] = problemsOf({ DATABASE_URL: 'mysql://me:secret@host/db' });
    expect(problem).toContain('DATABASE_URL=mysql://me:***@host/db is not allowed');
    expect(problem).not.toContain('secret');
  });

  test.each([
    ['postgres://me:secret@host:5432/db?a=b', 'postgres://me:***@host:5432/db?a=b'],
    ['amqp://me:se@cr:et@host', 'amqp://me:***@host'],
    ['mqtt://:secret@host', 'mqtt://:***@host'],
    ['amqp://me:secret@one,amqp://you:se,cr:et@two:5672', 'amqp://me:***@one,amqp://you:***@two:5672'],
    ['mqtt://me@host:1883', 'mqtt://me@host:1883'],
    // A password may begin with digits and contain a slash that is not encoded.
    ['mqtt://host:1883/a@b', 'mqtt://host:***@b'],
    ['.data', '.data'],
    // Without a scheme, or in libpq's other form.
    ['shop:secret@db/shop', '***@db/shop'],
    ['postgres:shop:secret@db/shop', '***@db/shop'],
    ["host=db user=shop password='a secret' dbname=shop", 'host=db user=shop password=*** dbname=shop'],
    ['postgres://host/db?sslpassword=secret&a=b', 'postgres://host/db?sslpassword=***&a=b'],
  ])('shows %s as %s', (url, shown) => {
    expect(redactUrl(url)).toBe(shown);
  });

  test.each([
    [{ MIGRATE: 'off' }, 'MIGRATE=off needs DATABASE_URL: an embedded database is migrated when it starts'],
    [{ EVENT_BUS: 'rabbitmq' }, /^AMQP_URL is missing: EVENT_BUS=rabbitmq needs it/],
    [{ EVENT_BUS: 'local', AMQP_URL: 'amqp://rabbitmq' }, /^EVENT_BUS=local contradicts AMQP_URL/],
    [{ LEASE_MS: '10000' }, 'LEASE_MS=10000 is not allowed: it must exceed twice PUBLISH_TIMEOUT_MS=5000'],
    [{ PUBLISH_TIMEOUT_MS: '8000' }, 'LEASE_MS=15000 is not allowed: it must exceed twice PUBLISH_TIMEOUT_MS=8000'],
    [{ STEP_LATENCY_MS: '15000' }, 'LEASE_MS=15000 is not allowed: it must exceed STEP_LATENCY_MS=15000'],
    [
      { STEP_LATENCY_MS: '14000', WATCHDOG_MS: '14000' },
      'WATCHDOG_MS=14000 is not allowed: it must exceed STEP_LATENCY_MS=14000',
    ],
    [{ RETRY_BASE_MS: '90000' }, 'RETRY_MAX_MS=60000 is not allowed: it must be at least RETRY_BASE_MS=90000'],
  ])('rejects contradictory variables: %j', (env, problem) => {
    expect(problemsOf(env)).toEqual([typeof problem === 'string' ? problem : expect.stringMatching(problem)]);
  });

  test('accepts values at the limit of a constraint, and states the constraint in the help', () => {
    const edge = { LEASE_MS: '10001', STEP_LATENCY_MS: '10000', WATCHDOG_MS: '10001', RETRY_BASE_MS: '60000' };
    expect(problemsOf(edge)).toEqual([]);
    const about = (name: string) => describeVariables().find((each) => each.name === name)?.about;
    expect(about('LEASE_MS')).toMatch(/Must exceed twice PUBLISH_TIMEOUT_MS\. Must exceed STEP_LATENCY_MS\.$/);
    expect(about('WATCHDOG_MS')).toMatch(/Must exceed STEP_LATENCY_MS\.$/);
    expect(about('RETRY_MAX_MS')).toMatch(/Must be at least RETRY_BASE_MS\.$/);
  });

  test('requires shared servers for roles in separate processes, and names them', () => {
    expect(() => parseConfig({}, ['order'], ['web'])).toThrow(
      /DATABASE_URL is missing: this process runs order, but not points, coupon, notify, flash-sale, the role worker; /,
    );
    expect(() => parseConfig({}, undefined, ['worker'])).toThrow(
      /, but not the role web; the processes that do must share a PostgreSQL/,
    );
  });

  test('requires shared servers for services in separate processes, and names them', () => {
    expect(problemsOf({}, ['order', 'points'])).toEqual([
      expect.stringMatching(
        /^DATABASE_URL is missing: this process runs order, points, but not coupon, notify, flash-sale; the processes/,
      ),
      expect.stringMatching(/^MQTT_URL is missing/),
      expect.stringMatching(/^PAYMENT_URL is missing.*`sluice payment-provider` is one/),
    ]);
    const shared = { DATABASE_URL: 'postgres://db', MQTT_URL: 'mqtt://broker' };
    expect(problemsOf({ ...shared, PAYMENT_URL: 'http://payments:3010' }, ['order'])).toEqual([]);
  });

  test('requires a payment provider only for the order service', () => {
    const shared = { DATABASE_URL: 'postgres://db', MQTT_URL: 'mqtt://broker' };
    expect(problemsOf(shared, ['points', 'flash-sale'])).toEqual([]);
    expect(problemsOf(shared)).toEqual([]);
    expect(problemsOf(shared, ['order', 'flash-sale'])).toEqual([expect.stringMatching(/^PAYMENT_URL is missing/)]);
  });
});

describe('the documents about the settings', () => {
  test.each(Object.entries(configurationDocs()))('%s is up to date (`npm run docs` writes it)', (path, text) => {
    expect(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')).toBe(text);
  });

  test('.env.example lists every variable, and changes nothing when all of it is uncommented', () => {
    const file = new URL('../../.env.example', import.meta.url);
    const uncommented = readFileSync(file, 'utf8').replaceAll(/^#(?! )/gm, '');
    const env = parseEnv(uncommented);
    const { busKind, ...variables } = parseConfig({});
    expect(busKind).toBe('local');
    expect(Object.keys(env).sort()).toEqual(Object.keys(variables).sort());
    expect(parseConfig(env as NodeJS.ProcessEnv)).toEqual(parseConfig({}));
  });
});

describe('access control', () => {
  const AUTH_SECRET = 'a secret of at least 32 bytes, for tests';
  const JWKS_URL = 'https://id.example.com/jwks.json';
  const open = { HOST: '0.0.0.0', MQTT_URL: 'mqtt://mqtt' };
  const apart = { DATABASE_URL: 'postgres://db/shop', MQTT_URL: 'mqtt://mqtt', PAYMENT_URL: 'http://pay' };

  test.each<[NodeJS.ProcessEnv, RegExp, ServiceName[]?]>([
    [{ HOST: '0.0.0.0' }, /^configuration: AUTH_MODE is missing: HOST=0\.0\.0\.0 may be reached .* AUTH_MODE=none/],
    [{ HOST: 'shop.example.com' }, /AUTH_MODE is missing/],
    [{ HOST: '::' }, /AUTH_MODE is missing/],
    [{ AUTH_SECRET }, /AUTH_SECRET is for AUTH_MODE=jwt: set that, or unset AUTH_SECRET$/],
    [{ AUTH_MODE: 'none', JWKS_URL }, /JWKS_URL is for AUTH_MODE=jwt/],
    [{ AUTH_MODE: 'jwt', JWKS_URL, AUTH_SECRET, AUTH_AUDIENCE: 'shop' }, /JWKS_URL contradicts AUTH_SECRET/],
    [{ AUTH_MODE: 'jwt', JWKS_URL }, /AUTH_AUDIENCE is missing/],
    [{ AUTH_MODE: 'jwt', JWKS_URL, AUTH_AUDIENCE: 'shop', SERVICES_URL: 'http://points' }, /SERVICE_TOKEN is missing/],
    [{ ...apart, AUTH_MODE: 'jwt' }, /AUTH_SECRET or JWKS_URL is missing: separate processes/, ['points']],
    [{ AUTH_MODE: 'jwt', SERVICE_TOKEN: 'guess' }, /SERVICE_TOKEN is not allowed: it must be a JWT$/],
  ])('%j does not start', (env, message, services) => {
    expect(() => parseConfig(env, services)).toThrow(message);
  });

  test('the message about a secret does not show it', () => {
    expect(() => parseConfig({ AUTH_MODE: 'jwt', AUTH_SECRET: 's3cret' })).toThrow(
      /^configuration: AUTH_SECRET is not allowed: it must be a secret of at least 32 bytes$/,
    );
  });

  test.each<NodeJS.ProcessEnv>([
    {},
    { HOST: 'localhost' },
    { HOST: '::1' },
    { HOST: '127.8.9.1' },
    { ...open, AUTH_MODE: 'none' },
    { ...open, AUTH_MODE: 'jwt' },
    { ...open, AUTH_MODE: 'jwt', AUTH_SECRET },
    { AUTH_MODE: 'jwt', JWKS_URL, AUTH_AUDIENCE: 'shop' },
  ])('%j starts', (env) => {
    expect(() => parseConfig(env)).not.toThrow();
  });
});
