// The environment, parsed once at start: what a process needs, and each service's own part (services/*/settings.ts).
// Anything without a URL runs embedded. Separate processes cannot share an embedded server, so the start then fails at
// once and names the URL that is missing.
import { z } from 'zod';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { messagingFailpoints } from '../infra/messaging/failpoints.ts';
import { resendSettings } from '../infra/messaging/resend.ts';
import { watchdogSettings } from '../infra/messaging/watchdog.ts';
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
  type VariableDescription,
  type Variables,
  variable,
} from '../infra/runtime/settings.ts';
import { couponSettings } from '../services/coupon/settings.ts';
import { flashSaleFailpoints } from '../services/flash-sale/failpoints.ts';
import { flashSaleSettings } from '../services/flash-sale/settings.ts';
import { notifySettings } from '../services/notify/settings.ts';
import { orderFailpoints } from '../services/order/failpoints.ts';
import { orderSettings } from '../services/order/settings.ts';
import { pointsSettings } from '../services/points/settings.ts';

export const failpoints = [...messagingFailpoints, ...flashSaleFailpoints, ...orderFailpoints] as const;
export type Failpoint = (typeof failpoints)[number];

const variables = {
  HOST: variable(
    z
      .string()
      .regex(/^[A-Za-z0-9.:_-]+$/)
      .meta({ allowed: 'an address or host name' }),
    '127.0.0.1',
    'Address to listen on, for HTTP and the embedded MQTT broker. Nothing is authenticated: open it with care.',
  ),
  PORT: variable(integer(0, 65_535), '3000', 'HTTP port. 0 takes a free one.'),
  DATA_DIR: variable(z.string().min(1), '.data', 'Folder of the embedded database and broker. One process at a time.'),
  DATABASE_URL: optional(
    url('postgres', 'postgresql'),
    'PostgreSQL 14 or newer. Unset: PGlite in DATA_DIR. Needed by services in separate processes.',
  ),
  DATABASE_POOL_SIZE: variable(integer(2, 200), '10', 'Connections to PostgreSQL of one process.'),
  REDIS_URL: optional(
    url('redis', 'rediss'),
    'Redis 6.2 or newer, or Valkey, for the pace of the flash-sale queues. Unset: the database paces them.',
  ),
  AMQP_URL: optional(
    urls('amqp', 'amqps'),
    'RabbitMQ 3.10 or newer, to carry the events; of a cluster, each node: they are tried in turn. Unset: see EVENT_BUS.',
  ),
  EVENT_BUS: optional(
    choice('local', 'rabbitmq', 'mqtt'),
    'What carries the events. Unset: rabbitmq with AMQP_URL, otherwise local (the database all services share).',
  ),
  MQTT_URL: optional(
    url('mqtt', 'mqtts', 'ws', 'wss'),
    'MQTT 3.1.1 broker for notifications, presence and logs. Unset: embedded. Needed by services in separate processes.',
  ),
  MQTT_PORT: variable(integer(0, 65_535), '1883', 'TCP port of the embedded MQTT broker. 0 takes a free one.'),
  BUS_PREFIX: variable(
    z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,40}$/)
      .meta({ allowed: '1 to 40 characters of A-Z a-z 0-9 _ -' }),
    'sluice',
    'Stands before every name on the brokers, so that several systems can share one.',
  ),
  LOG_LEVEL: variable(choice('trace', 'debug', 'info', 'warn', 'error'), 'info', 'Least level that is logged.'),
  LOG_FORMAT: variable(choice('auto', 'pretty', 'json'), 'auto', 'auto: pretty on a terminal, JSON lines otherwise.'),
  RETRY_ATTEMPTS: variable(
    integer(1, 100),
    '5',
    'Attempts at a message before it is dead, and at resending its reply.',
  ),
  RETRY_BASE_MS: variable(integer(1, 3_600_000), '1000', 'Delay before the second attempt; doubles, with jitter.'),
  RETRY_MAX_MS: variable(integer(1, 86_400_000), '60000', 'Longest delay between two attempts.'),
  ...resendSettings,
  INBOX_RETENTION_DAYS: variable(integer(1, 3_650), '7', 'Days that handled messages are remembered.'),
  LEASE_MS: variable(
    integer(100, 600_000),
    '15000',
    'What a process claimed (an event to publish, a message to handle) is taken up by others after this.',
  ),
  PUBLISH_TIMEOUT_MS: variable(
    integer(50, 300_000),
    '5000',
    'How long an event may wait to be sent, and then for the broker to confirm it.',
  ),
  PREFETCH: variable(integer(1, 10_000), '500', 'Messages that one service handles at a time.'),
  ...watchdogSettings,
  STOP_TIMEOUT_MS: variable(integer(100, 600_000), '10000', 'How long a stop waits for running work.'),
  ...orderSettings,
  ...pointsSettings,
  ...couponSettings,
  ...notifySettings,
  ...flashSaleSettings,
  FAILPOINT: optional(choice(...failpoints), 'For tests: the process is killed when it comes to this point.'),
} satisfies Variables;

/** What the code relies on between two variables: the first exceeds the second, or twice it. */
const relations = [
  // A relay publishes what it has leased.
  { name: 'LEASE_MS', exceeds: 'PUBLISH_TIMEOUT_MS', times: 2, orEquals: false },
  // A claimed message is free again after its lease, also while it is handled.
  { name: 'LEASE_MS', exceeds: 'STEP_LATENCY_MS', times: 1, orEquals: false },
  // A consumer whose handler takes long makes progress.
  { name: 'WATCHDOG_MS', exceeds: 'STEP_LATENCY_MS', times: 1, orEquals: false },
  // The longest of the delays is no shorter than the first.
  { name: 'RETRY_MAX_MS', exceeds: 'RETRY_BASE_MS', times: 1, orEquals: true },
] as const;

const required = ({ exceeds, times, orEquals }: (typeof relations)[number]) =>
  `${orEquals ? 'be at least' : 'exceed'} ${times === 2 ? 'twice ' : ''}${exceeds}`;

type Settings = SettingsOf<typeof variables>;

type BusKind = 'local' | 'rabbitmq' | 'mqtt';

/** What the environment says, checked. Durations are in milliseconds. */
export type Config = Settings & { readonly busKind: BusKind };

/**
 * Reads the configuration of a process that runs `services`. An empty variable counts as unset.
 * Throws a ConfigError with every problem found.
 */
export function parseConfig(env: NodeJS.ProcessEnv, services: readonly ServiceName[] = serviceNames): Config {
  const config = parseSettings(variables, env);
  const busKind = config.EVENT_BUS ?? (config.AMQP_URL ? 'rabbitmq' : 'local');
  const problems = contradictions(config, busKind, services);
  if (problems.length > 0) throw new ConfigError(problems);
  return { ...config, busKind };
}

function contradictions(config: Settings, busKind: BusKind, services: readonly ServiceName[]): string[] {
  const problems: string[] = [];
  const missing = serviceNames.filter((name) => !services.includes(name));
  if (missing.length > 0) {
    const why = `is missing: ${services.join(', ')} without ${missing.join(', ')} means several processes, which must share`;
    if (!config.DATABASE_URL)
      problems.push(`DATABASE_URL ${why} a PostgreSQL, such as postgres://user@host:5432/sluice`);
    if (!config.MQTT_URL) problems.push(`MQTT_URL ${why} an MQTT broker, such as mqtt://host:1883`);
    if (!config.PAYMENT_URL && services.includes('order'))
      problems.push(`PAYMENT_URL ${why} a payment provider: \`sluice payment-provider\` is one, on http://host:3010`);
  }
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

/** Every variable, for `--help` and `.env.example`. */
export const describeVariables = (): VariableDescription[] =>
  describe(variables).map(({ name, about, ...rest }) => ({
    name,
    ...rest,
    about: [
      about,
      ...relations.filter((relation) => relation.name === name).map((each) => `Must ${required(each)}.`),
    ].join(' '),
  }));
