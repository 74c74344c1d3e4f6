// The environment, parsed once at start: the settings of a process and of each service (services/*/settings.ts).
// Anything without a URL runs embedded. Separate processes cannot share an embedded server, so their start fails and
// names the missing URL.
import { z } from 'zod';
import { routesOf } from '../contracts/routes/index.ts';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { MAX_BATCH_EVENTS } from '../infra/bus/port.ts';
import { AMQP_PARAMS, parseAmqpUrls } from '../infra/bus/rabbitmq/url.ts';
import { POSTGRES_PARAMS, parsePostgresUrl } from '../infra/database/postgres-url.ts';
import { hostList, originList } from '../infra/http/request-guard.ts';
import { addressList, isBasePath } from '../infra/http/reverse-proxy.ts';
import { parseHttpUrlWithoutUser } from '../infra/http/url.ts';
import { messagingFailpoints } from '../infra/messaging/failpoints.ts';
import { resendSettings } from '../infra/messaging/resend.ts';
import { watchdogSettings } from '../infra/messaging/watchdog.ts';
import { MQTT_PARAMS, parseMqttUrls } from '../infra/mqtt/url.ts';
import { parseRedisUrl, REDIS_PARAMS } from '../infra/queue/redis-url.ts';
import { type Role, roles } from '../infra/runtime/service.ts';
import {
  ConfigError,
  choice,
  describe,
  integer,
  optional,
  parseSettings,
  type SettingsOf,
  url,
  urls,
  variable,
} from '../infra/runtime/settings.ts';
import { stepLatencySettings } from '../infra/runtime/step-latency.ts';
import { couponSettings } from '../services/coupon/settings.ts';
import { flashSaleFailpoints } from '../services/flash-sale/failpoints.ts';
import { orderFailpoints } from '../services/order/failpoints.ts';
import { orderSettings } from '../services/order/settings.ts';
import { pointsSettings } from '../services/points/settings.ts';
import { accessProblems, accessSettings } from './access/settings.ts';

export const failpoints = [...messagingFailpoints, ...flashSaleFailpoints, ...orderFailpoints] as const;
export type Failpoint = (typeof failpoints)[number];

const firstSegment = (path: string) => `/${path.split('/')[1] ?? ''}`;

/** The first segments of all routes. Below a base path that is one of them, a request would be ambiguous. */
const ROUTES = [...new Set([...Object.values(routesOf()).map(({ path }) => firstSegment(path)), '/mqtt'])];
const isRoute = (path: string) => ROUTES.includes(firstSegment(path).toLowerCase());

/** Whether `parse` understands the text. */
const isReadBy =
  (parse: (text: string) => unknown) =>
  (text: string): boolean => {
    try {
      parse(text);
      return true;
    } catch {
      return false;
    }
  };

/** URLs in SERVICES_URL: each is asked for each part of a history. */
const MAX_SERVICES = 32;

const pemFile = z.string().meta({ allowed: 'the path of a PEM file' });

const parameters = (names: readonly string[]) => `Parameters: ${names.join(', ')}.`;

const variables = {
  HOST: variable(
    z
      .string()
      .regex(/^([A-Za-z0-9.:_%-]+|\[[A-Za-z0-9.:%]+\])$/)
      .transform((host) => host.replace(/^\[|\]$/g, '')) // an IPv6 address as in a URL
      .meta({ allowed: 'an address or host name' }),
    '127.0.0.1',
    'Address that HTTP and the embedded MQTT broker listen on. For any but a loopback address, set AUTH_MODE.',
  ),
  PORT: variable(integer(0, 65_535), '3000', 'HTTP port. 0 picks a free port.'),
  TLS_CERT: optional(
    pemFile,
    'The certificate of this process, followed by those of intermediate authorities: HTTP, the embedded MQTT broker and WebSocket then speak only TLS. New contents take effect within seconds. Unset: no TLS.',
  ),
  TLS_KEY: optional(pemFile, 'The key of TLS_CERT, without a passphrase.'),
  BASE_PATH: optional(
    z
      .string()
      .transform((path) => path.replace(/\/$/, ''))
      .refine((path) => path === '' || (isBasePath(path) && !isRoute(path)))
      .meta({
        allowed: `a path such as /shop that does not begin with ${ROUTES.slice(0, -1).join(', ')} or ${ROUTES.at(-1)}`,
      }),
    'Path below which a reverse proxy serves this process. Links, redirects, forms and the WebSocket begin with it.',
  ),
  TRUSTED_PROXIES: optional(
    z
      .string()
      .refine(isReadBy(addressList))
      .meta({ allowed: 'addresses or networks such as 127.0.0.1 or 10.0.0.0/8, separated by commas' }),
    'Reverse proxies whose X-Forwarded-Prefix (instead of BASE_PATH), X-Forwarded-Host and X-Forwarded-For count. Unset: none.',
  ),
  ALLOWED_HOSTS: optional(
    z
      .string()
      .refine(isReadBy(hostList))
      .transform(hostList)
      .meta({ allowed: 'host names such as shop.example.org, without scheme and port, separated by commas' }),
    'Names by which clients reach this process, besides localhost and IP addresses. A request with another Host gets a 421. Unset: none while HOST is a loopback address, any otherwise.',
  ),
  CORS_ORIGINS: optional(
    z.string().refine(isReadBy(originList)).transform(originList).meta({
      allowed: 'origins such as https://shop.example.org or http://localhost:5173, separated by commas, not *',
    }),
    'Origins of other sites whose pages may send requests and read the responses (CORS). Unset: none.',
  ),
  MAX_CONNECTIONS: variable(
    integer(1, 1_000_000),
    '10000',
    'HTTP connections at a time, WebSockets included; one more is closed at once. Each needs a file descriptor and some kilobytes of memory.',
  ),
  KEEP_ALIVE_MS: variable(
    integer(1_000, 3_600_000),
    '65000',
    'How long an idle HTTP connection stays open. Must exceed the idle timeout of the load balancer in front.',
  ),
  DATA_DIR: variable(
    z.string().min(1),
    '.data',
    'Data folder of the embedded servers. Only one `sluice start` may use it at a time.',
  ),
  SERVICES_URL: optional(
    urls(
      parseHttpUrlWithoutUser,
      MAX_SERVICES,
      'a URL such as http://points:3000, without a user or password, or up to 32 separated by commas',
    ),
    'The processes that serve HTTP for the services that do not run in this one, in any order; several may serve the same service. A process that serves the order service reads the histories of orders there. Unset: those services are missing in them.',
  ),
  STOP_TIMEOUT_MS: variable(integer(100, 600_000), '10000', 'How long a stop waits for running work.'),
  DATABASE_URL: optional(
    url(parsePostgresUrl, 'a URL such as postgres://user:password@host:port/database'),
    `PostgreSQL 14 or newer, or PgBouncer with pool_mode=session in front of it. Of several hosts, separated by commas, the first one that accepts writes is used. ${parameters(POSTGRES_PARAMS)} Unset: PGlite in DATA_DIR. Required for separate processes.`,
  ),
  MIGRATE: variable(
    choice('on', 'off'),
    'on',
    'on: a start brings the schemas of the database up to date. off: it only checks them, and `sluice migrate` changes them, with a role that may.',
  ),
  WARM_UP: variable(
    choice('on', 'off'),
    'on',
    'on: a process that serves flash sales runs the code that answers a flood, for up to a second, before it is ready. off: it is ready sooner, and answers the first requests of a flood more slowly.',
  ),
  DATABASE_POOL_SIZE: variable(
    integer(2, 200),
    '10',
    'Size of the main connection pool of a process. A process may hold ten connections more, with EVENT_BUS=mqtt fifteen.',
  ),
  REDIS_URL: optional(
    url(parseRedisUrl, 'a URL such as redis://user:password@host:port/0, or rediss:// for TLS'),
    `Redis 6.2 or newer, or Valkey, not a cluster, for the job queue of the flash sales and, with AUTH_MODE=jwt, for the counts of the limits. ${parameters(REDIS_PARAMS)} Unset: the queue is in the database, and each process counts by itself.`,
  ),
  AMQP_URL: optional(
    url(parseAmqpUrls, 'a URL such as amqp://user:password@host:port/vhost, or several separated by commas'),
    `RabbitMQ 3.10 or newer, which carries the events; amqps:// for TLS. Cluster nodes are tried in turn. ${parameters(AMQP_PARAMS)} Unset: see EVENT_BUS.`,
  ),
  EVENT_BUS: optional(
    choice('local', 'rabbitmq', 'mqtt'),
    'Transport of the events. Unset: rabbitmq if AMQP_URL is set, otherwise local (the database that all services share).',
  ),
  MQTT_URL: optional(
    url(parseMqttUrls, 'a URL such as mqtt://user:password@host:port, or several separated by commas'),
    `MQTT 3.1.1 broker for notifications, presence and logs, and for the events if EVENT_BUS is mqtt; mqtts:// for TLS, ws:// or wss:// for WebSocket. Several are tried in turn. ${parameters(MQTT_PARAMS)} Unset: embedded. Required for separate processes.`,
  ),
  MQTT_PORT: variable(integer(0, 65_535), '1883', 'TCP port of the embedded MQTT broker. 0 picks a free port.'),
  BUS_PREFIX: variable(
    z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,40}$/)
      .meta({ allowed: '1 to 40 characters of A-Z a-z 0-9 _ -' }),
    'sluice',
    'Prefix of every name on the brokers, so that several systems can share one broker.',
  ),
  LOG_LEVEL: variable(choice('trace', 'debug', 'info', 'warn', 'error'), 'info', 'Lowest level that is logged.'),
  LOG_FORMAT: variable(choice('auto', 'pretty', 'json'), 'auto', 'auto: pretty on a terminal, JSON lines otherwise.'),
  RETRY_ATTEMPTS: variable(
    integer(1, 100),
    '5',
    'Attempts to handle a message before it is dead. The same limit applies to resending a reply.',
  ),
  RETRY_BASE_MS: variable(integer(1, 3_600_000), '1000', 'Delay before the second attempt; doubles, with jitter.'),
  RETRY_MAX_MS: variable(integer(1, 86_400_000), '60000', 'Longest delay between two attempts.'),
  INBOX_RETENTION_DAYS: variable(
    integer(1, 3_650),
    '7',
    'Days for which a failed attempt is kept, and a done message, counted from its arrival or, if an operator has retried it, from when it was handled.',
  ),
  FAILED_RETENTION_DAYS: variable(
    integer(1, 3_650),
    '90',
    'Days for which a dead message is kept, discarded or not, counted from its last failure. Only the newest 1,000 unreadable ones are kept.',
  ),
  LEASE_MS: variable(
    integer(100, 600_000),
    '15000',
    'Lease: how long a claim on an event or a message lasts. After that, another process may claim it.',
  ),
  PUBLISH_TIMEOUT_MS: variable(
    integer(50, 300_000),
    '5000',
    'How long an event may wait to be sent. The broker then has the same time to confirm it.',
  ),
  PREFETCH: variable(
    integer(1, 10_000),
    '500',
    'Unacknowledged messages that one consumer may hold, and events that it processes at a time.',
  ),
  EVENTS_PER_MESSAGE: variable(
    integer(1, MAX_BATCH_EVENTS),
    '20',
    'Maximum number of events in one RabbitMQ message. Must be 1 while processes of 0.2.0 consume.',
  ),
  ...accessSettings,
  ...orderSettings,
  ...pointsSettings,
  ...couponSettings,
  ...stepLatencySettings,
  ...resendSettings,
  ...watchdogSettings,
  FAILPOINT: optional(choice(...failpoints), 'For tests: the process kills itself at this point.'),
};
export type VariableName = keyof typeof variables;

/** Variables that were renamed. Setting one stops the start, because its value would have no effect. */
export const renamedVariables: Readonly<Record<string, VariableName>> = {
  ASK_AGAIN_MS: 'RESEND_AFTER_MS',
};

/**
 * Constraints between two variables: the value of `name` must exceed `times` × the value of `exceeds`; with `orEquals`,
 * the two may also be equal.
 */
const relations = [
  // A relay publishes an event before its lease expires.
  { name: 'LEASE_MS', exceeds: 'PUBLISH_TIMEOUT_MS', times: 2, orEquals: false },
  // A message is handled before its lease expires.
  { name: 'LEASE_MS', exceeds: 'STEP_LATENCY_MS', times: 1, orEquals: false },
  // A consumer with a slow handler is not taken for a stalled one.
  { name: 'WATCHDOG_MS', exceeds: 'STEP_LATENCY_MS', times: 1, orEquals: false },
  // The longest delay is at least the first one.
  { name: 'RETRY_MAX_MS', exceeds: 'RETRY_BASE_MS', times: 1, orEquals: true },
] as const;

const required = ({ exceeds, times, orEquals }: (typeof relations)[number]) =>
  `${orEquals ? 'be at least' : 'exceed'} ${times === 2 ? 'twice ' : ''}${exceeds}`;

type Settings = SettingsOf<typeof variables>;
/** The checked configuration. Durations are in milliseconds. */
export type Config = Settings & { readonly busKind: NonNullable<Settings['EVENT_BUS']> };

/**
 * Reads the configuration of a process that runs `services` in these roles. An empty variable counts as unset.
 * Throws a ConfigError with every problem found.
 */
export function parseConfig(
  env: NodeJS.ProcessEnv,
  services: readonly ServiceName[] = serviceNames,
  inRoles: readonly Role[] = roles,
): Config {
  const config = parseSettings(variables, env, renamedVariables);
  const busKind = config.EVENT_BUS ?? (config.AMQP_URL ? 'rabbitmq' : 'local');
  const problems = contradictions(config, busKind, { services, inRoles });
  if (problems.length > 0) throw new ConfigError(problems);
  return { ...config, busKind };
}

/** The settings of `sluice token`. Throws a ConfigError as parseConfig does. */
export const parseAccessSettings = (env: NodeJS.ProcessEnv) =>
  parseSettings({ ...accessSettings, DATA_DIR: variables.DATA_DIR }, env);

function contradictions(
  config: Settings,
  busKind: Config['busKind'],
  { services, inRoles }: { readonly services: readonly ServiceName[]; readonly inRoles: readonly Role[] },
): string[] {
  const problems: string[] = [];
  const missing = [
    ...serviceNames.filter((name) => !services.includes(name)),
    ...roles.filter((role) => !inRoles.includes(role)).map((role) => `the role ${role}`),
  ];
  if (missing.length > 0) {
    const why = `is missing: this process runs ${services.join(', ')}, but not ${missing.join(', ')}`;
    const share = `${why}; the processes that do must share`;
    if (!config.DATABASE_URL)
      problems.push(`DATABASE_URL ${share} a PostgreSQL with it, such as postgres://user@host:5432/sluice`);
    if (!config.MQTT_URL) problems.push(`MQTT_URL ${share} an MQTT broker with it, such as mqtt://host:1883`);
    if (!config.PAYMENT_URL && services.includes('order'))
      problems.push(
        `PAYMENT_URL ${why}, so it needs a payment provider: \`sluice payment-provider\` is one, on http://host:3010`,
      );
  }
  if ((config.TLS_CERT === undefined) !== (config.TLS_KEY === undefined))
    problems.push('TLS_CERT and TLS_KEY must be set together: a certificate and its key');
  problems.push(...accessProblems(config, { ...config, isSeparate: missing.length > 0 }));
  if (config.MIGRATE === 'off' && !config.DATABASE_URL)
    problems.push('MIGRATE=off needs DATABASE_URL: an embedded database is migrated when it starts');
  if (busKind === 'rabbitmq' && !config.AMQP_URL)
    problems.push('AMQP_URL is missing: EVENT_BUS=rabbitmq needs it, such as amqp://user:password@host:5672');
  if (busKind !== 'rabbitmq' && config.AMQP_URL)
    problems.push(`EVENT_BUS=${busKind} contradicts AMQP_URL, which is for rabbitmq: unset one of the two`);
  for (const relation of relations) {
    const { name, exceeds, times, orEquals } = relation;
    const least = times * config[exceeds];
    if (config[name] < least || (config[name] === least && !orEquals))
      problems.push(`${name}=${config[name]} is not allowed: it must ${required(relation)}=${config[exceeds]}`);
  }
  return problems;
}

/** Every variable, with its constraints. */
export const describeVariables = () =>
  describe(variables).map((variable) => {
    const constraints = relations.filter(({ name }) => name === variable.name);
    return {
      ...variable,
      about: [variable.about, ...constraints.map((relation) => `Must ${required(relation)}.`)].join(' '),
    };
  });
