// The environment, parsed once at start by one schema. What has no URL is embedded; what separate processes must share
// needs its URL, and the start says so at once.
import { z } from 'zod';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { failpoints } from '../infra/runtime/failpoint.ts';
import { splitUrls } from '../infra/runtime/urls.ts';

/** An integer variable; the bounds are part of the error message. */
const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^-?\d{1,15}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .meta({ allowed: `an integer from ${min} to ${max}` });

/** Whether it is a URL whose user and password can be decoded: a `%` in them must be written as `%25`. */
function readable(value: string): boolean {
  try {
    const { username, password } = new URL(value);
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

const url = (...protocols: string[]) =>
  z
    .string()
    .refine((value) => protocols.some((protocol) => value.startsWith(`${protocol}://`)) && readable(value))
    .meta({ allowed: `a URL such as ${protocols[0]}://user:password@host:port` });

/** One URL, or several separated by commas. */
const urls = (...protocols: string[]) => {
  const one = url(...protocols);
  return (
    z
      .string()
      // A host name that ends in a comma would be one, by the letter.
      .refine((value) =>
        splitUrls(value).every((each) => one.safeParse(each).success && !new URL(each).host.includes(',')),
      )
      .meta({ allowed: `${one.meta()?.allowed}, or several separated by commas` })
  );
};

const choice = <const T extends readonly [string, ...string[]]>(...values: T) =>
  z.enum(values).meta({ allowed: `one of: ${values.join(', ')}` });

interface Variable<S extends z.ZodType> {
  schema: S;
  /** What the variable is worth when it is not set; undefined: nothing. */
  fallback?: string;
  about: string;
}
const variable = <S extends z.ZodType>(schema: S, fallback: string, about: string) => ({ schema, fallback, about });
const optional = <S extends z.ZodType>(schema: S, about: string) => ({ schema: schema.optional(), about });

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
  PAYMENT_URL: optional(
    url('http', 'https')
      .refine((value) => !/\/\/[^/]*@/.test(value))
      .meta({ allowed: 'a URL such as http://host:3010, without a user or password' }),
    'Payment provider. Unset: a simulated one, with its books in DATA_DIR. Needed by the order service in a separate process.',
  ),
  PAYMENT_TIMEOUT_MS: variable(
    integer(50, 300_000),
    '5000',
    'How long the payment provider may take to answer; after that it is not known whether it acted.',
  ),
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
  STEP_LATENCY_MS: variable(
    integer(0, 60_000),
    '0',
    'Work added to each message in points, coupon and notify, for demonstrations.',
  ),
  POINTS_PER_MAJOR_UNIT: variable(integer(0, 1_000), '1', 'Points for each whole major unit of the total.'),
  COUPON_PERCENT: variable(integer(0, 100), '5', 'Coupon in percent of the total, rounded down.'),
  COUPON_MIN_MAJOR_UNITS: variable(integer(0, 1_000_000_000), '50', 'Least total, in major units, that earns one.'),
  COUPON_VALID_DAYS: variable(integer(1, 3_650), '30', 'Days until a coupon expires.'),
  RETRY_ATTEMPTS: variable(integer(1, 100), '5', 'Attempts at a message before it is dead.'),
  RETRY_BASE_MS: variable(integer(1, 3_600_000), '1000', 'Delay before the second attempt; doubles, with jitter.'),
  RETRY_MAX_MS: variable(integer(1, 86_400_000), '60000', 'Longest delay between two attempts.'),
  ASK_AGAIN_MS: variable(
    integer(100, 3_600_000),
    '30000',
    'An order whose steps are not all answered after this is asked for again; doubles up to an hour.',
  ),
  INBOX_RETENTION_DAYS: variable(integer(1, 3_650), '7', 'Days that handled messages are remembered.'),
  LEASE_MS: variable(
    integer(100, 600_000),
    '15000',
    'What a process claimed (an event to publish, a message to handle) is taken up by others after this. Must exceed PUBLISH_TIMEOUT_MS and STEP_LATENCY_MS.',
  ),
  PUBLISH_TIMEOUT_MS: variable(integer(50, 300_000), '5000', 'How long a broker may take to confirm an event.'),
  PREFETCH: variable(integer(1, 10_000), '500', 'Messages that one service handles at a time.'),
  WATCHDOG_MS: variable(
    integer(100, 3_600_000),
    '30000',
    'A consumer with a backlog that handles nothing for this long is rebuilt.',
  ),
  STOP_TIMEOUT_MS: variable(integer(100, 600_000), '10000', 'How long a stop waits for running work.'),
  FAILPOINT: optional(choice(...failpoints), 'For tests: the process is killed when it comes to this point.'),
} satisfies Record<string, Variable<z.ZodType>>;

type Variables = { [K in keyof typeof variables]: z.output<(typeof variables)[K]['schema']> };

export type BusKind = 'local' | 'rabbitmq' | 'mqtt';

/** What the environment says, checked. Durations are in milliseconds. */
export type Config = Variables & { readonly busKind: BusKind };

export class ConfigError extends Error {
  /** One sentence each, naming the variable. */
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`configuration: ${problems.join('; ')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** `postgres://me:secret@host/db` as `postgres://me:***@host/db`: for messages and logs. Of a list, each URL. */
export const redactUrl = (list: string): string => splitUrls(list).map(redact).join(',');

function redact(value: string): string {
  if (!URL.canParse(value)) {
    // A password that should have been percent-encoded may be what is wrong with it: all up to the last @ is hidden.
    return value.replace(/(:\/\/[^:/?#@]*):.*@/, '$1:***@');
  }
  const url = new URL(value);
  for (const key of [...url.searchParams.keys()]) if (/password/i.test(key)) url.searchParams.set(key, '***');
  if (url.password === '' && !/password/i.test(url.search)) return value;
  if (url.password !== '') url.password = '***';
  return url.href;
}

/**
 * Reads the configuration of a process that runs `services`. An empty variable counts as unset.
 * Throws a ConfigError with every problem found.
 */
export function parseConfig(env: NodeJS.ProcessEnv, services: readonly ServiceName[] = serviceNames): Config {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { schema, fallback }] of Object.entries(variables) as [string, Variable<z.ZodType>][]) {
    const given = env[name] === '' ? undefined : env[name];
    const parsed = schema.safeParse(given ?? fallback);
    if (parsed.success) values[name] = parsed.data;
    else problems.push(`${name}=${redactUrl(given ?? '')} is not allowed: it must be ${allowed(schema)}`);
  }
  const config = values as Variables;
  const busKind = config.EVENT_BUS ?? (config.AMQP_URL ? 'rabbitmq' : 'local');
  if (problems.length === 0) problems.push(...contradictions(config, busKind, services));
  if (problems.length > 0) throw new ConfigError(problems);
  return { ...config, busKind };
}

function contradictions(config: Variables, busKind: BusKind, services: readonly ServiceName[]): string[] {
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
  for (const name of ['PUBLISH_TIMEOUT_MS', 'STEP_LATENCY_MS'] as const)
    if (config.LEASE_MS <= config[name])
      problems.push(`LEASE_MS=${config.LEASE_MS} is not allowed: it must exceed ${name}=${config[name]}`);
  if (config.WATCHDOG_MS <= config.STEP_LATENCY_MS)
    problems.push(
      `WATCHDOG_MS=${config.WATCHDOG_MS} is not allowed: it must exceed STEP_LATENCY_MS=${config.STEP_LATENCY_MS}`,
    );
  if (config.RETRY_MAX_MS < config.RETRY_BASE_MS)
    problems.push(
      `RETRY_MAX_MS=${config.RETRY_MAX_MS} is not allowed: it must be at least RETRY_BASE_MS=${config.RETRY_BASE_MS}`,
    );
  return problems;
}

function allowed(schema: z.ZodType): string {
  const meta = schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType).meta() : schema.meta();
  return String(meta?.allowed ?? 'a non-empty text');
}

export interface VariableDescription {
  readonly name: string;
  readonly fallback: string | undefined;
  readonly allowed: string;
  readonly about: string;
}

/** Every variable, for `--help` and `.env.example`. */
export function describeVariables(): VariableDescription[] {
  return (Object.entries(variables) as [string, Variable<z.ZodType>][]).map(([name, { schema, fallback, about }]) => ({
    name,
    fallback,
    allowed: allowed(schema),
    about,
  }));
}
