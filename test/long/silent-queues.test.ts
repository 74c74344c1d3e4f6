// Queue servers that keep their connections open and no longer respond.
import { describe, expect, inject, test } from 'vitest';
import { cleanUps } from '../setup/clean-ups.ts';
import { startProxy } from '../setup/proxy.ts';
import { open, openOnPostgres } from '../setup/queues.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl, redisUrl } = inject('servers');

describe.for([
  ['Redis', redisUrl, (url: string) => open({ redisUrl: url })],
  ['PostgreSQL', databaseUrl, openOnPostgres],
] as const)('%s', ([name, serverUrl, openAt]) => {
  test.skipIf(!serverUrl)(
    `${name} is reported down when it no longer responds, although its connections stay open`,
    async () => {
      const proxy = await startProxy(String(serverUrl));
      cleanUps.push(() => proxy.close());
      const through = new URL(String(serverUrl));
      through.host = `127.0.0.1:${proxy.port}`;
      const queues = await openAt(through.href);
      expect(queues.health()).toEqual({ status: 'up' });
      proxy.swallow(true);
      await eventually(() => queues.health().status === 'down', { what: 'the queues are down', timeoutMs: 25_000 });
      await expect(queues.remove('q')).rejects.toThrow();
      proxy.sever();
      proxy.swallow(false);
      await eventually(() => queues.health().status === 'up', { what: 'the queues are up again', timeoutMs: 15_000 });
    },
    60_000,
  );
});
