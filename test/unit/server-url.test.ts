import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseAmqpUrls } from '../../infra/bus/rabbitmq/url.ts';
import { clientOptions } from '../../infra/database/postgres-client.ts';
import { parsePostgresUrl, withDatabase } from '../../infra/database/postgres-url.ts';
import { parseHttpUrl } from '../../infra/http/url.ts';
import { parseMqttUrls } from '../../infra/mqtt/url.ts';
import { parseRedisUrl } from '../../infra/queue/redis-url.ts';
import { hostPort, redactIn, redactUrl } from '../../infra/runtime/server-url.ts';

/** How each kind of server reads the URL of one server. */
const kinds = {
  amqp: (url: string) => parseAmqpUrls(url)[0],
  mqtt: (url: string) => parseMqttUrls(url)[0],
  redis: parseRedisUrl,
  postgres: (url: string) => ({ ...parsePostgresUrl(url), ...parsePostgresUrl(url).hosts[0] }),
};
const problemOf = (parse: (url: string) => unknown, url: string): string => {
  try {
    parse(url);
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
};

describe.each(Object.entries(kinds))('a URL of %s', (scheme, parse) => {
  test('has a user and a password of any characters', () => {
    const text = fc
      .string({ unit: 'binary', minLength: 1 })
      .filter((given) => given.isWellFormed() && !/\0/.test(given));
    fc.assert(
      fc.property(text, text, (user, password) => {
        const url = `${scheme}://${encodeURIComponent(user)}:${encodeURIComponent(password)}@host`;
        expect(parse(url)).toMatchObject({ user, password, host: 'host' });
        expect(redactUrl(url)).toBe(`${scheme}://${encodeURIComponent(user)}:***@host`);
      }),
    );
  });

  test.each([
    ['[::1]:99', '::1', 99],
    ['[FE80::1%25eth0]:99', 'FE80::1%eth0', 99],
    ['my_host.example:99', 'my_host.example', 99],
    ['bücher.example:99', 'xn--bcher-kva.example', 99],
    ['me:a:b@10.0.0.1:99', '10.0.0.1', 99],
    ['me:a@b@host:99\n', 'host', 99],
  ])('names a host: %s', (rest, host, port) => {
    const parsed = parse(`${scheme}://${rest}`);
    expect(parsed).toMatchObject({ host, port });
    expect(hostPort({ host, port })).toBe(host.includes(':') ? `[${host}]:99` : `${host}:99`);
  });

  test.each([
    ['me:pa/ss@host', /an @ after its host: write @ as %40/],
    ['me:1/2@host', /an @ after its host/],
    ['me:pa?ss@host', /an @ after its host/],
    ['me:pa#ss@host', /an @ after its host/],
    ['host/#x', /contains a #/],
    ['me:50%@host', /user or password must be percent-encoded: write % as %25/],
    ['me:a%00b@host', /contains %00/],
    ['me:a b@host', /a space or a control character/],
    ['::1:99', /IPv6 address must stand in brackets/],
    ['[::g]', /must contain an IPv6 address/],
    ['host:0', /port must be a number from 1 to 65535/],
    ['host:70000', /port must be a number/],
    ['ho$t', /no valid host/],
    ['host?keyPrefix=secret', /^the parameter keyPrefix is not known; known parameters are \w+,/],
  ])('is rejected, with the reason and without the password: %s', (rest, message) => {
    const problem = problemOf(parse, `${scheme}://${rest}`);
    expect(problem).toMatch(message);
    expect(problem).not.toMatch(/ss@|secret/);
  });
});

describe('AMQP_URL', () => {
  test('has a virtual host, and parameters that are checked', () => {
    const [server] = parseAmqpUrls('amqp://host/a%2Fb?heartbeat=0&connection_timeout=500&channelMax=64&frameMax=8192');
    expect(server).toMatchObject({ vhost: 'a/b', heartbeatSeconds: 0, connectionTimeoutMs: 500, channelMax: 64 });
    expect(parseAmqpUrls('amqps://host')).toMatchObject([
      { user: 'guest', password: 'guest', vhost: '/', port: 5671, tls: { rejectUnauthorized: true } },
    ]);
  });

  test.each([
    ['amqp://host?heartbeat=soon', /heartbeat must be an integer from 0 to 65535/],
    ['amqp://host?heartbeat=1&heartbeat=2', /heartbeat appears twice/],
    ['amqp://host?cacertfile=/x.pem', /cacertfile has no effect on amqp:\/\/, without TLS/],
    ['amqps://host?cacertfile=/none.pem', /cacertfile cannot be read: ENOENT/],
    ['amqps://host?certfile=/none.pem', /certfile cannot be read/],
    ['amqps://host?verify=no', /verify must be one of: verify_peer, verify_none/],
    ['amqp://host?auth_mechanism=external', /needs certfile and keyfile/],
    ['amqps://a,amqps://b?verify=verify_none', /nodes must have the same/],
  ])('is rejected: %s', (url, message) => {
    expect(problemOf(parseAmqpUrls, url)).toMatch(message);
  });

  test('names a file that is no certificate', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'sluice-url-')), 'ca.pem');
    writeFileSync(file, 'hello');
    for (const parse of [parseAmqpUrls, parseMqttUrls])
      expect(
        problemOf(parse, `${parse === parseAmqpUrls ? 'amqps' : 'mqtts'}://host?keyfile=${file}&certfile=${file}`),
      ).toMatch(/^certfile, keyfile: not usable PEM files/);
  });
});

test.each([
  ['mqtt://host/path', /takes no path/],
  ['mqtt://:secret@host', /no password without a user/],
  ['mqtt://host?clientId=x', /clientId is not known/],
])('MQTT_URL=%s is rejected', (url, message) => {
  expect(problemOf(parseMqttUrls, url)).toMatch(message);
});

test('MQTT_URL is a list of brokers, each with its own transport', () => {
  expect(parseMqttUrls('mqtt://a, mqtts://b:1,ws://[::1]/mqtt')).toMatchObject([
    { host: 'a', port: 1883, webSocketPath: undefined, tls: undefined },
    { host: 'b', port: 1, tls: {} },
    { host: '::1', port: 80, webSocketPath: '/mqtt' },
  ]);
});

test.each([
  ['redis://a,b', /must name one server: Redis Cluster and Sentinel/],
  ['redis://host/name', /number of a database/],
  ['redis://host?family=5', /family must be one of: 0, 4, 6/],
])('REDIS_URL=%s is rejected', (url, message) => {
  expect(problemOf(parseRedisUrl, url)).toMatch(message);
});

test('REDIS_URL may have a password without a user', () => {
  expect(parseRedisUrl('redis://:secret@host/2')).toEqual({
    ...{ host: 'host', port: 6379, password: 'secret', database: 2, family: 0, tls: undefined },
  });
});

describe('DATABASE_URL', () => {
  beforeEach(() => {
    for (const name of ['PGHOST', 'PGPORT']) vi.stubEnv(name, undefined);
  });
  afterEach(() => void vi.unstubAllEnvs());

  test.each([
    [
      'postgres://a:1,[::1]/db',
      [
        { host: 'a', port: 1 },
        { host: '::1', port: 5432 },
      ],
    ],
    ['postgres:///db', [{ host: 'localhost', port: 5432 }]],
    ['postgres:///db?host=/run/postgresql', [{ host: '/run/postgresql', port: 5432 }]],
    ['postgres://me@/db?host=/run/postgresql&port=6432', [{ host: '/run/postgresql', port: 6432 }]],
    ['postgres://%2Frun%2Fpostgresql/db', [{ host: '/run/postgresql', port: 5432 }]],
    [
      'postgresql:///db?host=a,b&port=1,2',
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
    ],
  ])('names its servers: %s', (url, hosts) => {
    expect(parsePostgresUrl(url)).toMatchObject({ hosts, database: 'db' });
  });

  test.each([
    ['postgres:///db', [{ host: 'pg', port: 6432 }]],
    ['postgres://me@/db', [{ host: 'pg', port: 6432 }]],
    [
      'postgres://a,b:1/db',
      [
        { host: 'a', port: 6432 },
        { host: 'b', port: 1 },
      ],
    ],
    ['postgres:///db?host=/run/postgresql', [{ host: '/run/postgresql', port: 6432 }]],
    ['postgres:///db?host=a&port=1', [{ host: 'a', port: 1 }]],
  ])('leaves to PGHOST and PGPORT what it does not name: %s', (url, hosts) => {
    vi.stubEnv('PGHOST', 'pg');
    vi.stubEnv('PGPORT', '6432');
    expect(parsePostgresUrl(url)).toMatchObject({ hosts });
  });

  test('is rejected if it needs a PGPORT that is no port', () => {
    vi.stubEnv('PGPORT', 'soon');
    expect(problemOf(parsePostgresUrl, 'postgres://h/db')).toBe('PGPORT must be a port from 1 to 65535');
    expect(problemOf(parsePostgresUrl, 'postgres:///db')).toMatch(/PGPORT\) must name .* a port from 1 to 65535/);
    expect(problemOf(parsePostgresUrl, 'postgres://h:1/db')).toBe('none');
  });

  test.each([
    ['postgres://h/db?sslmode=prefer', /sslmode must be one of: disable, require, verify-ca, verify-full/],
    ['postgres://h/db?sslrootcert=/x', /sslrootcert has no effect without sslmode/],
    ['postgres://h/db?sslmode=require&sslrootcert=/none', /sslrootcert cannot be read: ENOENT/],
    ['postgres://h/db?target_session_attrs=read-only', /must be one of: any, read-write, primary/],
    ['postgres://h/db?connect_timeout=0', /connect_timeout must be an integer from 1 to 600/],
    ['postgres://h/db?options=-E', /options must be a list of -c name=value/],
    ['postgres://h/db?host=x', /names a host twice/],
    ['postgres:///db?host=a,b&port=1,2,3', /one port, or one for each host/],
    ['postgres://h/db?schema=public', /schema is not known/],
  ])('is rejected: %s', (url, message) => {
    expect(problemOf(parsePostgresUrl, url)).toMatch(message);
  });

  test('has settings of the session, however they are written', () => {
    const { settings } = parsePostgresUrl(
      'postgres://h/db?options=-c%20work_mem%3D8MB%20-cjit%3Doff%20--a-b%3Dc%5C%20d',
    );
    expect(settings).toEqual([
      ['work_mem', '8MB'],
      ['jit', 'off'],
      ['a_b', 'c d'],
    ]);
  });

  test('becomes options of pg, in which the URL precedes the defaults', () => {
    const defaults = { applicationName: 'sluice', connectTimeoutMs: 5_000 };
    expect(clientOptions(parsePostgresUrl('postgres://h'), defaults)).toEqual({
      ...{ host: 'h', port: 5432, application_name: 'sluice', connectionTimeoutMillis: 5_000 },
    });
    const url = 'postgres://h?connect_timeout=7&application_name=shop&sslmode=require';
    expect(clientOptions(parsePostgresUrl(url), defaults)).toMatchObject({
      ...{ application_name: 'shop', connectionTimeoutMillis: 7_000, ssl: { rejectUnauthorized: false } },
    });
  });

  test('keeps everything but the database', () => {
    expect(withDatabase('postgres://me:a%2Fb@h:1,i/one?options=-c%20a%3Db', 'two')).toBe(
      'postgres://me:a%2Fb@h:1,i/two?options=-c%20a%3Db',
    );
    expect(withDatabase('postgres://h', 'two')).toBe('postgres://h/two');
  });
});

test('the URL of an HTTP server has a user and a password of any characters', () => {
  const { origin, base, authorization } = parseHttpUrl(`https://ann:${encodeURIComponent('p:@/ü')}@[::1]:443/shop/`);
  expect([origin, base]).toEqual(['https://[::1]', '/shop']);
  expect(Buffer.from(String(authorization).slice('Basic '.length), 'base64').toString()).toBe('ann:p:@/ü');
  expect(problemOf(parseHttpUrl, 'http://host?token=secret')).toBe(
    'the parameter token is not known; no parameter may be set',
  );
});

test.each([
  ["argument 'http://ann:p w'x@h' is wrong", "argument 'http://***@h' is wrong", ["http://ann:p w'x@h"]],
  ['unexpected argument shop:secret@db', 'unexpected argument ***@db', ['shop:secret@db']],
  ['--ur=http://token@h is unknown', '--ur=http://***@h is unknown', []],
  ['see amqp://me:a,b@h and mqtt://me@i', 'see amqp://me:***@h and mqtt://me@i', []],
  ['it must be a URL such as amqp://user:password@host', 'it must be a URL such as amqp://user:password@host', []],
])('a text that quotes URLs shows no password: %s', (text, shown, urls) => {
  expect(redactIn(text, urls)).toBe(shown);
});
