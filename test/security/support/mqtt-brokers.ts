// The MQTT brokers that buyers may reach, each with the access rules that it is documented with.
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { pino } from 'pino';
import { openAccessControl } from '../../../app/access/access-control.ts';
import { serveMqttAuth } from '../../../app/access/mqtt-auth.ts';
import { parseConfig } from '../../../app/config.ts';
import type { CallerRole } from '../../../infra/access/caller.ts';
import { secretKeys } from '../../../infra/access/keys.ts';
import { signToken } from '../../../infra/access/tokens.ts';
import { createApp } from '../../../infra/http/app.ts';
import { EmbeddedBroker } from '../../../infra/mqtt/embedded/broker.ts';
import { userLevel } from '../../../infra/mqtt/topics.ts';
import { Metrics } from '../../../infra/observability/metrics.ts';
import { startMosquittoWithUsers } from '../../servers/mosquitto.ts';
import { startRabbitmq } from '../../servers/rabbitmq.ts';
import { listen } from '../../setup/listen.ts';

export const prefix = 'sluice';

export interface Login {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

export interface BrokerUnderAttack {
  /** Connects as a client from outside. */
  connect(login: Login, options?: IClientOptions): MqttClient;
  /** Publishes as the system does. */
  publish(topic: string, payload: string, retain?: boolean): Promise<unknown>;
  /** Connects as the system does. */
  connectService(options?: IClientOptions): MqttClient;
  loginOf(user: string): Promise<Login>;
  /** A client id that the user may have. */
  clientId(user: string, name: string): string;
  stop(): Promise<void>;
}

const secret = randomUUID();
const settings = parseConfig({ AUTH_MODE: 'jwt', AUTH_SECRET: secret });
const context = { metrics: new Metrics(), log: pino({ level: 'silent' }), shutdown: { add: () => undefined } };

interface TokenOptions {
  readonly roles?: readonly CallerRole[];
  readonly expiresInSeconds?: number;
}

export async function tokenOf(user: string, { roles = [], expiresInSeconds = 600 }: TokenOptions = {}) {
  const rules = { issuer: undefined, audience: undefined, userClaim: 'sub', userFault: () => undefined };
  return signToken(await secretKeys(secret), rules, { user, roles, expiresInSeconds });
}

const loginByToken = async (user: string) => ({ username: userLevel(user), password: await tokenOf(user) });

/** Random, as mqtt.js would make one up too, but of the system's prefix. */
const serviceId = () => ({ clientId: `${prefix}-${randomUUID().slice(0, 8)}` });

export async function embedded(): Promise<BrokerUnderAttack> {
  const { verifier } = await openAccessControl(settings, context);
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-broker-'));
  const log = pino({ level: 'silent' });
  const broker = await EmbeddedBroker.start({ dataDir, host: '127.0.0.1', port: 0, prefix, log, verifier });
  return {
    connect: (login, options) => connect(`mqtt://127.0.0.1:${broker.port}`, login, options),
    publish: (topic, payload, retain = false) => broker.publisher.publish(topic, payload, { qos: 1, retain }),
    connectService: (options) => broker.connectInternal({ ...serviceId(), ...options }),
    loginOf: loginByToken,
    clientId: (_user, name) => name,
    async stop() {
      await broker.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

export interface RabbitmqUnderAttack extends BrokerUnderAttack {
  readonly amqpUrl: string;
  /** The HTTP server that RabbitMQ asks, and what it has logged. */
  readonly url: string;
  readonly serviceToken: string;
  readonly log: readonly string[];
}

export async function rabbitmq(): Promise<RabbitmqUnderAttack> {
  const log: string[] = [];
  const { authentication, verifier } = await openAccessControl(settings, context);
  const logger = pino({ level: 'trace' }, { write: (line) => void log.push(line) });
  const mqttUrl = 'mqtt://127.0.0.1';
  const declare = (api: Parameters<typeof serveMqttAuth>[0]) =>
    serveMqttAuth(api, { verifier, prefix, mqttUrl, log: logger });
  const http = createServer(createApp(logger, declare, authentication));
  const url = `http://127.0.0.1:${await listen(http)}`;
  const serviceToken = await tokenOf('broker', { roles: ['service'] });
  const deployed = await readFile(new URL('../../../infra/deploy/rabbitmq-auth.conf', import.meta.url), 'utf8');
  const configuration = deployed
    .replaceAll('SERVICE_TOKEN@', `${serviceToken}@`)
    .replaceAll('127.0.0.1:3000', new URL(url).host);
  const broker = await startRabbitmq({
    plugins: ['rabbitmq_auth_backend_http'],
    settings: configuration.split('\n'),
  });
  return {
    amqpUrl: broker.amqpUrl,
    url,
    serviceToken,
    log,
    connect: (login, options) => connect(withoutUser(broker.mqttUrl), login, options),
    ...serviceAt(broker.mqttUrl),
    loginOf: loginByToken,
    clientId: (user, name) => `${userLevel(user)}/${name}`,
    async stop() {
      await broker.stop();
      http.close();
    },
  };
}

export async function mosquitto(...users: string[]): Promise<BrokerUnderAttack> {
  const passwords = new Map(users.map((user) => [user, randomUUID()]));
  const names = [...passwords].map(([user, password]) => [userLevel(user), password]);
  const broker = await startMosquittoWithUsers(Object.fromEntries(names));
  return {
    connect: (login, options) => connect(broker.usersUrl, login, options),
    ...serviceAt(broker.servicesUrl),
    loginOf: async (user) => ({ username: userLevel(user), password: passwords.get(user) }),
    clientId: (_user, name) => name,
    stop: () => broker.stop(),
  };
}

function serviceAt(url: string): Pick<BrokerUnderAttack, 'publish' | 'connectService'> {
  const connectService = (options?: IClientOptions) => connect(url, {}, { ...serviceId(), ...options });
  const publisher = connectService();
  return {
    publish: (topic, payload, retain = false) => publisher.publishAsync(topic, payload, { qos: 1, retain }),
    connectService,
  };
}

const connect = (url: string, { username, password }: Login, options: IClientOptions = {}) =>
  mqtt.connect(url, {
    reconnectPeriod: 0,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...options,
  });

function withoutUser(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
