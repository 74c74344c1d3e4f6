// A stop ends within two seconds and with exit code 0, each server being away in each of several ways.
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { createServiceProcess, type ServiceProcess, sluice } from '../fault/support/service-process.ts';
import { freePort } from '../servers/ports.ts';
import { freshUser, jsonRequest, orderOf, tryCall } from '../setup/api.ts';
import { listen } from '../setup/listen.ts';
import { newPglite } from '../setup/pglite.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { startProxy } from '../setup/proxy.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const servers = inject('servers');

/** How much longer than with all servers a stop may take. */
const LONGER_MS = 2_000;

/** How long a stop takes on this machine while every server responds. */
let plainMs = 0;
beforeAll(async () => {
  const process = await createServiceProcess('sluice', sluice(), { MQTT_PORT: '0' });
  await process.start();
  plainMs = await timeOfStop(process);
  await process.remove();
});

interface Server {
  /** Undefined if the server is missing here. */
  readonly url: string | undefined;
  /** The settings that name the server. */
  readonly settings: (url: string) => Record<string, string>;
  /** The same URL with TLS. */
  readonly overTls: (url: string) => string;
  /** A URL of a database of its own, if the server holds some. */
  readonly fresh?: (url: string) => Promise<string>;
}

const table: Record<string, Server> = {
  RabbitMQ: {
    url: servers.amqpUrl,
    settings: (url) => ({ AMQP_URL: url }),
    overTls: (url) => url.replace('amqp:', 'amqps:'),
  },
  'the MQTT broker': {
    url: servers.mosquittoUrl,
    settings: (url) => ({ MQTT_URL: url }),
    overTls: (url) => url.replace('mqtt:', 'mqtts:'),
  },
  'the MQTT broker as bus': {
    url: servers.mosquittoUrl,
    settings: (url) => ({ MQTT_URL: url, EVENT_BUS: 'mqtt' }),
    overTls: (url) => url.replace('mqtt:', 'mqtts:'),
  },
  PostgreSQL: {
    url: servers.databaseUrl,
    settings: (url) => ({ DATABASE_URL: url }),
    overTls: (url) => `${url}?sslmode=require`,
    fresh: async (url) => {
      const database = await freshDatabase(url);
      onTestFinished(database.drop);
      return database.url;
    },
  },
  Redis: {
    url: servers.redisUrl,
    settings: (url) => ({ REDIS_URL: url }),
    overTls: (url) => url.replace('redis:', 'rediss:'),
  },
};

const at = (url: string, port: number): string => {
  const { hostname, port: old } = new URL(url);
  return url.replace(`${hostname}:${old}`, `127.0.0.1:${port}`);
};

/** A process that is not started yet, with everything embedded but the given server. */
async function createProcess(settings: Record<string, string>): Promise<ServiceProcess> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-stop-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  if (!settings.DATABASE_URL) await newPglite(join(dataDir, 'database'));
  const common = { DATA_DIR: dataDir, MQTT_PORT: '0', BUS_PREFIX: freshPrefix() };
  const process = await createServiceProcess('sluice', sluice(), { ...common, ...settings });
  onTestFinished(() => process.remove());
  return process;
}

/** Orders, a sale and a purchase, which leave work for every server. Responses do not matter. */
async function work({ url }: ServiceProcess): Promise<void> {
  const user = freshUser();
  const sale = { sku: 's', name: 'S', unitPrice: 100, currency: 'EUR', stock: 10, queueCap: 10, drainPerSecond: 5 };
  const created = await tryCall(`${url}/flash-sales`, { ...jsonRequest(sale), timeoutMs: 1_000 });
  const { id } = created?.status === 201 ? (JSON.parse(created.text) as { id: string }) : { id: 'none' };
  const calls = [
    tryCall(`${url}/orders`, { ...jsonRequest(orderOf(user)), timeoutMs: 1_000 }),
    tryCall(`${url}/flash-sales/${id}/purchases`, { ...jsonRequest({ userId: user }), timeoutMs: 1_000 }),
  ];
  await Promise.all(calls);
}

/** In milliseconds. Fails unless the exit code is 0 and nothing was left open. */
async function timeOfStop(process: ServiceProcess): Promise<number> {
  const startedAt = performance.now();
  const exit = await process.stop();
  const tookMs = performance.now() - startedAt;
  const output = await process.output();
  expect(exit, output).toEqual({ code: 0, signal: null });
  expect(output).not.toContain('were left open');
  return tookMs;
}

async function expectStop(process: ServiceProcess): Promise<void> {
  expect(await timeOfStop(process)).toBeLessThan(plainMs + LONGER_MS);
}

describe.for(Object.entries(table))('a stop without %s', ([, { url, settings, overTls, fresh }]) => {
  const withServer = test.skipIf(!url);
  const target = () => (fresh ? fresh(String(url)) : Promise.resolve(String(url)));

  async function throughProxy() {
    const real = await target();
    const proxy = await startProxy(real);
    onTestFinished(() => proxy.close());
    const process = await createProcess(settings(at(real, proxy.port)));
    await process.start();
    await work(process);
    return { proxy, process };
  }

  /** Starts it as far as it gets without the server, and lets it work. */
  async function startAt(away: string) {
    const process = await createProcess(settings(away));
    if (away.startsWith('postgres')) {
      await process.launch(); // it waits for the database
      await isWaiting(process);
      return process;
    }
    await process.start();
    await work(process);
    return process;
  }

  withServer('which was killed', async () => {
    const { proxy, process } = await throughProxy();
    proxy.reject(true);
    proxy.sever();
    await work(process);
    await expectStop(process);
  });

  withServer('which has fallen silent', async () => {
    const { proxy, process } = await throughProxy();
    proxy.swallow(true);
    await work(process);
    await expectStop(process);
  });

  withServer('which was never there', async () => {
    await expectStop(await startAt(at(String(url), await freePort())));
  });

  describe('which accepts connections and never responds', () => {
    async function silent() {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => sockets.add(socket.on('error', () => undefined)));
      onTestFinished(() => {
        server.close();
        for (const socket of sockets) socket.destroy();
      });
      return at(String(url), await listen(server));
    }

    withServer('once it runs', async () => expectStop(await startAt(await silent())));

    withServer('while it starts', async () => {
      const away = await silent();
      const process = await createProcess(settings(away));
      await process.launch();
      await (away.startsWith('postgres') ? isWaiting(process) : hasBegun(process));
      await expectStop(process);
    });
  });

  withServer('which rejects TLS', async () => {
    const process = await createProcess(settings(overTls(await target())));
    await process.launch();
    if (String(url).startsWith('postgres')) {
      // It is a condition that a retry does not change, so it ends by itself.
      expect((await process.ended(30_000)).code).toBe(2);
      expect(await process.output()).toMatch(/^error: the database at .* The server does not support SSL/m);
      return;
    }
    await hasWritten(process, '"ready on');
    await work(process);
    await expectStop(process);
  });
});

test.skipIf(servers.missing.length > 0)('a stop while every server is silent', async () => {
  const { amqpUrl, mosquittoUrl, databaseUrl, redisUrl } = servers;
  const database = await freshDatabase(String(databaseUrl));
  onTestFinished(database.drop);
  const named = { AMQP_URL: amqpUrl, MQTT_URL: mosquittoUrl, DATABASE_URL: database.url, REDIS_URL: redisUrl };
  const proxied = await Promise.all(
    Object.entries(named).map(async ([name, url]) => {
      const proxy = await startProxy(String(url));
      onTestFinished(() => proxy.close());
      return { name, url: at(String(url), proxy.port), proxy };
    }),
  );
  const process = await createProcess(Object.fromEntries(proxied.map(({ name, url }) => [name, url])));
  await process.start();
  await work(process);
  for (const { proxy } of proxied) proxy.swallow(true);
  await work(process);
  await expectStop(process);
});

describe('the same signal that comes again and again', () => {
  /** A terminal and npm, and a supervisor that is impatient. */
  async function signalRepeatedly(process: ServiceProcess): Promise<void> {
    const [pid] = process.pids;
    const ended = process.ended(10_000);
    const repeating = setInterval(() => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const)
        if (process.pids.length > 0) global.process.kill(Number(pid), signal);
    }, 10);
    expect(await ended.finally(() => clearInterval(repeating)), await process.output()).toEqual({
      code: 0,
      signal: null,
    });
  }

  test('does not change how a process ends', async () => {
    const process = await createProcess({});
    await process.start();
    await work(process);
    await signalRepeatedly(process);
  });

  test('does not change how a start ends', async () => {
    const process = await createProcess({});
    await process.launch();
    await hasBegun(process);
    await signalRepeatedly(process);
    expect(await process.output()).toContain('stopped before it was ready');
  });
});

const hasWritten = (process: ServiceProcess, line: string) =>
  eventually(async () => (await process.output()).includes(line), { what: line, timeoutMs: 60_000 });

/** Resolves when it waits for the database. */
const isWaiting = (process: ServiceProcess) => hasWritten(process, 'MQTT broker embedded');

/** Resolves when it has opened its embedded database, which would delay a stop, and connects to the servers. */
const hasBegun = (process: ServiceProcess) => hasWritten(process, 'payment provider simulated');
