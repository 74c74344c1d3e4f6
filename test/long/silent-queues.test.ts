// Servers of the queues that keep their connections open and answer nothing.
import { describe, expect, inject, test } from 'vitest';
import { startProxy } from '../setup/proxy.ts';
import { cleanups, open, openOnPostgres } from '../setup/queues.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl, redisUrl } = inject('servers');

describe.for([
  ['Redis', redisUrl, (url: string) => open({ redisUrl: url })],
  ['PostgreSQL', databaseUrl, openOnPostgres],
] as const)('%s', ([name, serverUrl, openAt]) => {
  test.skipIf(!serverUrl)(
    `${name} that no longer answers is down, though its connections stay open`,
    async () => {
      const proxy = await startProxy(String(serverUrl));
      cleanups.push(() => proxy.close());
      const through = new URL(String(serverUrl));
      through.host = `127.0.0.1:${proxy.port}`;
      const queues = await openAt(through.href);
      expect(queues.health()).toEqual({ status: 'up' });
      proxy.swallow(true);
      await eventually(() => queues.health().status === 'down', { what: 'it is down', timeoutMs: 25_000 });
      await expect(queues.remove('q')).rejects.toThrow();
      proxy.sever();
      proxy.swallow(false);
      await eventually(() => queues.health().status === 'up', { what: 'it is up again', timeoutMs: 15_000 });
    },
    60_000,
  );
});
