// A process and the order in which its parts start and stop. On the embedded database it has two threads: this one for
// HTTP and the MQTT broker, and a worker (worker-thread.ts) for the database and everything else.
import { randomBytes } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Readiness } from '../contracts/operations.ts';
import { responseHeaders } from '../contracts/response-headers.ts';
import { type ServiceName, SUBJECT_NAME, serviceNames } from '../contracts/services.ts';
import type { Api } from '../infra/http/api.ts';
import { createApp } from '../infra/http/app.ts';
import { OverloadGuard } from '../infra/http/overload.ts';
import { isLoopback, RequestGuard } from '../infra/http/request-guard.ts';
import { addressList, clientAddress, ReverseProxy } from '../infra/http/reverse-proxy.ts';
import { routeOf } from '../infra/http/route-of.ts';
import { type HttpOptions, listenAt } from '../infra/http/server.ts';
import { Presence } from '../infra/mqtt/presence.ts';
import { sendConsoleTo } from '../infra/observability/console.ts';
import { openLog } from '../infra/observability/log.ts';
import { LogMirror } from '../infra/observability/log-mirror.ts';
import { Metrics } from '../infra/observability/metrics.ts';
import { lockDataDir } from '../infra/runtime/data-dir.ts';
import { ServerCertificate } from '../infra/runtime/server-certificate.ts';
import { type Role, roles } from '../infra/runtime/service.ts';
import { Shutdown } from '../infra/runtime/shutdown.ts';
import { ThrottledLog } from '../infra/runtime/throttled-log.ts';
import { openAccessControl } from './access/access-control.ts';
import { serveMqttAuth } from './access/mqtt-auth.ts';
import { serveSession } from './access/session.ts';
import type { AccessControl } from './access/token-access.ts';
import { serveFailedMessages } from './admin/failed-messages.ts';
import { serveHistory } from './admin/history.ts';
import { serveOperations } from './admin/operations.ts';
import { serveOperatorActions } from './admin/operator-actions.ts';
import { type Config, parseConfig } from './config.ts';
import { serveDocuments } from './documents/routes.ts';
import { HistoryCollector } from './history/collector.ts';
import { RemoteHistory } from './history/remote-history.ts';
import { openBroker, openResources, Resources } from './resources.ts';
import type { ServiceRunner } from './service-runner.ts';
import { type StartServicesOptions, startServices, startWebServices } from './start-services.ts';
import type { StoppableServices } from './stoppable-services.ts';
import { WorkerThread } from './worker.ts';

export interface StartOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly services?: readonly ServiceName[];
  /** Default: both. */
  readonly roles?: readonly Role[];
  /** Cancels the start, even during a long migration. After the start it has no effect: call stop(). */
  readonly signal?: AbortSignal;
  /** The process does nothing else: what libraries write to the console becomes lines of the log. */
  readonly ownsConsole?: boolean;
}

export type RunningSluice = Pick<Sluice, 'url' | 'stop'>;

/**
 * Rejects with a ConfigError or a StartupError if the configuration or the environment prevents the start, and with the
 * signal's reason if the signal cancelled it.
 */
export async function startSluice(
  options: StartOptions,
): Promise<RunningSluice & Pick<Sluice, 'stopService' | 'startService'>> {
  const sluice = new Sluice(options);
  await sluice.start();
  return sluice;
}

const NO_RESPONSE = { status: 'down', detail: 'no response' } as const;

/** The running services of a process, and the state that /healthz, /readyz and /metrics report. */
interface Running {
  readonly runners: readonly ServiceRunner[];
  readonly resources: Resources;
  readonly resourceStates: () => Promise<Readiness['resources']>;
  readonly otherLoops: () => Promise<Readiness['loops']>;
  readonly otherMetrics: () => Promise<readonly object[]>;
  readonly stoppable: Pick<StoppableServices, 'stopService' | 'startService'>;
}

/** Each part that starts adds the step that stops it; stop() runs the steps in reverse order. */
class Sluice {
  readonly #services: readonly ServiceName[];
  readonly #roles: readonly Role[];
  readonly #signal: AbortSignal;
  readonly #config: Config;
  readonly #mirror: LogMirror;
  readonly #log: Logger;
  readonly #writeLine: (line: string) => void;
  readonly #metrics = new Metrics();
  readonly #shutdown: Shutdown;
  /** Undefined without TLS. */
  #certificate: ServerCertificate | undefined;
  #running: Running | undefined;
  #url = '';
  #warm = false;
  #stopped: Promise<void> | undefined;

  constructor(options: StartOptions) {
    const { env, services = serviceNames, roles: inRoles = roles, signal = new AbortController().signal } = options;
    this.#services = services;
    this.#roles = inRoles;
    this.#signal = signal;
    this.#config = parseConfig(env, services, inRoles);
    const { BUS_PREFIX, LOG_FORMAT, LOG_LEVEL } = this.#config;
    this.#mirror = new LogMirror(BUS_PREFIX);
    const pretty = LOG_FORMAT === 'pretty' || (LOG_FORMAT === 'auto' && process.stdout.isTTY === true);
    const { log, writeLine } = openLog({ level: LOG_LEVEL, pretty, mirror: this.#mirror, subjectName: SUBJECT_NAME });
    this.#log = log;
    if (options.ownsConsole) sendConsoleTo(log);
    this.#writeLine = writeLine;
    this.#shutdown = new Shutdown(this.#log);
  }

  /** The URL of its HTTP server. */
  get url(): string {
    return this.#url;
  }

  async start(): Promise<void> {
    const startedAt = performance.now();
    try {
      this.#certificate = await this.#openCertificate();
      const access = await openAccessControl(this.#config, {
        metrics: this.#metrics,
        log: this.#log,
        shutdown: this.#shutdown,
      });
      const running = await (this.#config.DATABASE_URL ? this.#startHere(access) : this.#startThreads(access));
      this.#running = running;
      await this.#serveHttp(running, access);
      this.#announce(running.resources);
      const startMs = Math.round(performance.now() - startedAt);
      const { kind: database } = running.resources.database;
      const facts = {
        url: this.#url,
        services: this.#services,
        roles: this.#roles,
        database,
        bus: this.#config.busKind,
      };
      this.#log.info({ ...facts, startMs }, `ready on ${this.#url}`);
    } catch (error) {
      await this.#shutdown.run();
      this.#signal.throwIfAborted();
      throw error;
    }
  }

  /** Stops receiving messages, finishes running work, closes everything. Rejects if that exceeds STOP_TIMEOUT_MS. */
  stop(): Promise<void> {
    this.#stopped ??= this.#shutdown.runWithin(this.#config.STOP_TIMEOUT_MS).then(() => {
      this.#log.info('stopped');
    });
    return this.#stopped;
  }

  async stopService(name: ServiceName): Promise<void> {
    await this.#running?.stoppable.stopService(name);
  }

  async startService(name: ServiceName): Promise<void> {
    await this.#running?.stoppable.startService(name);
  }

  #servicesOptions(resources: Resources): StartServicesOptions {
    return {
      config: this.#config,
      services: this.#services,
      roles: this.#roles,
      resources,
      metrics: this.#metrics,
      log: this.#log,
      signal: this.#signal,
      shutdown: this.#shutdown,
    };
  }

  /** Mirrors the log from now on, and closes the resources at the stop. */
  #open(resources: Resources): void {
    this.#shutdown.add(() => resources.close());
    this.#shutdown.onBegin(() => resources.interrupt());
    this.#mirror.start(resources.mqtt);
    this.#shutdown.add(() => this.#mirror.stop());
  }

  async #openCertificate(): Promise<ServerCertificate | undefined> {
    const { TLS_CERT: cert, TLS_KEY: key } = this.#config;
    if (cert === undefined || key === undefined) return undefined;
    const certificate = await ServerCertificate.open({ cert, key }, this.#log);
    certificate.start();
    this.#shutdown.add(() => certificate.stop());
    return certificate;
  }

  /** All roles of the process in this thread. */
  async #startHere({ verifier }: AccessControl): Promise<Running> {
    const resources = await openResources(this.#config, this.#log, { verifier, certificate: this.#certificate });
    this.#open(resources);
    const interrupt = () => resources.interrupt();
    this.#signal.addEventListener('abort', interrupt);
    try {
      const { runners, bus, stoppable } = await startServices(this.#servicesOptions(resources));
      const resourceStates = async () => resources.states(bus);
      return {
        runners,
        resources,
        resourceStates,
        otherLoops: async () => [],
        otherMetrics: async () => [],
        stoppable,
      };
    } finally {
      this.#signal.removeEventListener('abort', interrupt);
    }
  }

  /** The role web in this thread, and the role worker in another one. */
  async #startThreads({ verifier }: AccessControl): Promise<Running> {
    const config = this.#config;
    this.#shutdown.add(await lockDataDir(config.DATA_DIR));
    const broker = await openBroker(config, this.#log, { verifier, certificate: this.#certificate });
    this.#shutdown.add(() => broker.close());
    const worker = new WorkerThread({
      config,
      services: this.#services,
      broker,
      writeLine: this.#writeLine,
      onDied: (error) => this.#die(error),
    });
    this.#shutdown.add(() => worker.stop());
    this.#shutdown.onBegin(() => worker.interrupt());
    const resources = new Resources(config, this.#log, { database: worker.database, broker });
    this.#open(resources);
    const { paymentUrl } = await worker.start(this.#signal);
    resources.payAt(paymentUrl);
    return {
      runners: await startWebServices(this.#servicesOptions(resources), worker),
      resources,
      resourceStates: async () => {
        const states = await worker
          .readiness()
          .then(({ resources: its }) => its)
          .catch(() => ({ bus: NO_RESPONSE }));
        return { ...states, mqtt: broker.publisher.health() };
      },
      otherLoops: () =>
        worker
          .readiness()
          .then(({ loops }) => loops)
          .catch(() => []), // the consumers' states say that it does not respond
      otherMetrics: () =>
        worker
          .metrics()
          .then((its) => [its])
          .catch(() => []), // absent until it responds again
      stoppable: worker,
    };
  }

  /** The process exits, because nothing works without its worker. The next start resumes the work. */
  #die(error: Error): void {
    if (this.#shutdown.begun) return;
    this.#log.fatal({ err: error.cause ?? error }, error.message);
    process.exit(1);
  }

  /** A process without the role web serves only health, readiness, metrics and the documents that describe it. */
  async #serveHttp(
    { runners, resources, resourceStates, otherLoops, otherMetrics }: Running,
    access: AccessControl,
  ): Promise<void> {
    const served = this.#roles.includes('web') ? runners : [];
    const overload = new OverloadGuard({
      isSheddable: (request) => served.some(({ service }) => service.isSheddable?.(request) ?? false),
    });
    this.#shutdown.add(async () => overload.stop());
    const { authentication } = access;
    const app = createApp(
      this.#log,
      (api) => {
        for (const runner of served) runner.routes(api);
        this.#serveHistory(api, served, resources, access);
        const { database } = resources;
        if (served.length > 0) {
          serveFailedMessages(api, served);
          serveOperatorActions(api, database);
          serveSession(api, access.verifier);
          const { BUS_PREFIX: prefix, MQTT_URL: mqttUrl } = this.#config;
          serveMqttAuth(api, { verifier: access.verifier, prefix, mqttUrl, log: this.#log });
        }
        const serving = () => this.#warm && !this.#shutdown.begun;
        const shown = { runners, database, resources: resourceStates, otherLoops, otherMetrics, overload, serving };
        serveOperations(api, { ...shown, metrics: this.#metrics });
        const { busKind, BUS_PREFIX: prefix } = this.#config;
        serveDocuments(api, {
          services: this.#services,
          web: served.map(({ name }) => name),
          buses: [busKind],
          prefix,
          withTokens: access.verifier !== undefined,
        });
      },
      authentication,
    );
    // A front costs as little as a rejection by the overload guard, so it runs before the guard.
    const listener = served.reduce<RequestListener>(
      (next, { service }) => service.front?.(next, authentication) ?? next,
      overload.guard(app),
    );
    const { BASE_PATH: basePath = '', TRUSTED_PROXIES, HOST, ALLOWED_HOSTS, CORS_ORIGINS = [] } = this.#config;
    const proxy = new ReverseProxy({ basePath, trusted: TRUSTED_PROXIES ? addressList(TRUSTED_PROXIES) : undefined });
    const guard = new RequestGuard({
      hosts: ALLOWED_HOSTS ?? (isLoopback(HOST) ? [] : undefined),
      origins: CORS_ORIGINS,
      exposedHeaders: Object.keys(responseHeaders),
    });
    const http = await listenAt(this.#config, proxy.before(guard.before(listener)), this.#httpOptions());
    this.#shutdown.add(() => http.close());
    resources.attach(http.server, (request, socket) => {
      proxy.adopt(request);
      return guard.admitUpgrade(request, socket) ? clientAddress(request) : undefined;
    });
    this.#url = http.url;
    // After listening, so that a port in use is reported at once. Requests that come meanwhile get their response.
    if (this.#config.WARM_UP === 'on') for (const { service } of served) await service.warmUp?.();
    this.#warm = true;
  }

  /** TLS, and counts of requests and of connections above the maximum. */
  #httpOptions(): HttpOptions {
    const { requests, droppedConnections } = this.#metrics;
    const { MAX_CONNECTIONS } = this.#config;
    const log = new ThrottledLog(this.#log);
    return {
      certificate: this.#certificate,
      onResponse: (request, response, seconds) => {
        const status = response.headersSent ? response.statusCode : undefined;
        requests.record({ method: request.method, route: routeOf(request), status }, seconds);
      },
      onDrop: () => {
        droppedConnections.inc();
        log.warn({ MAX_CONNECTIONS }, 'closed a connection, because MAX_CONNECTIONS are open');
      },
    };
  }

  /** The histories of orders, if this process serves the order service. */
  #serveHistory(
    api: Api,
    served: readonly ServiceRunner[],
    resources: Resources,
    { authorization }: AccessControl,
  ): void {
    const order = served.find(({ name }) => name === 'order')?.history;
    if (!order) return;
    const remote = new RemoteHistory(this.#config.SERVICES_URL ?? [], authorization);
    this.#shutdown.add(() => remote.close());
    const others = served.map(({ history }) => history).filter((history) => history !== order);
    serveHistory(api, new HistoryCollector({ database: resources.database, order, others, remote }));
  }

  /** Announces the services on the MQTT broker, once they are reachable. */
  #announce({ presence: broker }: Resources): void {
    const instance = `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`;
    const prefix = this.#config.BUS_PREFIX;
    const announcements = this.#services.map(
      (service) => new Presence({ broker, prefix, service, instance, log: this.#log }),
    );
    for (const announcement of announcements) announcement.start();
    this.#shutdown.add(() => Promise.all(announcements.map((announcement) => announcement.stop())));
  }
}
