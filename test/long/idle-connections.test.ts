// POST on connections that were idle for six seconds, a second more than Node.js keeps them by default: no request is
// reset, whether it comes from a client or through nginx, which must not repeat a POST.

import { readFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startNginx } from '../servers/nginx.ts';
import { embedded, type System } from '../service/support/systems.ts';
import { freshUser, orderOf } from '../setup/api.ts';
import { cleanUps } from '../setup/clean-ups.ts';

const CONNECTIONS = 20;
const ROUNDS = 4;
const IDLE_MS = 6_000;

let system: System;
beforeAll(async () => {
  system = await embedded.start({ TRUSTED_PROXIES: '127.0.0.1' });
});
afterAll(() => system?.remove());

/** Sends every request of a round at once, on the connections of the round before. Resolves with results by number. */
async function postAfterIdleTimes(url: string): Promise<Record<string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  cleanUps.push(() => agent.destroy());
  const results: Record<string, number> = {};
  const post = () =>
    new Promise<void>((resolve) => {
      const end = (result: string) => {
        results[result] = (results[result] ?? 0) + 1;
        resolve();
      };
      const headers = { 'Content-Type': 'application/json' };
      const sent = httpRequest(`${url}/orders`, { method: 'POST', headers, agent }, (response) => {
        const { reusedSocket } = sent;
        response.resume().on('end', () => end(`${response.statusCode}${reusedSocket ? ', reused' : ''}`));
      });
      sent.on('error', (error) => end(String(error)));
      sent.end(JSON.stringify(orderOf(freshUser())));
    });
  for (let round = 0; round <= ROUNDS; round++) {
    if (round > 0) await delay(IDLE_MS);
    await Promise.all(Array.from({ length: CONNECTIONS }, post));
  }
  return results;
}

const expected = { 201: CONNECTIONS, '201, reused': ROUNDS * CONNECTIONS };

test('directly', async () => expect(await postAfterIdleTimes(system.url('order'))).toEqual(expected));

test('through nginx', async () => {
  const page = readFileSync(new URL('../../docs/reverse-proxies.md', import.meta.url), 'utf8');
  const conf = String(/```nginx\n(.*?)```/s.exec(page)?.[1]);
  const nginx = await startNginx((port) =>
    conf
      .replace('127.0.0.1:3000', new URL(system.url('order')).host)
      .replace('listen 8080', `listen 127.0.0.1:${port}`),
  );
  cleanUps.push(() => nginx.stop());
  expect(await postAfterIdleTimes(`${nginx.url}/shop`)).toEqual(expected);
});
