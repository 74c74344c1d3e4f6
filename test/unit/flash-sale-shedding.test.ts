// Purchases that overload control sheds between the listener in front of Express and the routes.
import type { IncomingMessage, RequestListener } from 'node:http';
import { pino } from 'pino';
import { Pool } from 'undici';
import { v7 as uuidv7 } from 'uuid';
import { expect, test } from 'vitest';
import { noAuthentication } from '../../infra/http/authentication.ts';
import { OverloadGuard } from '../../infra/http/overload.ts';
import { listen } from '../../infra/http/server.ts';
import { front } from '../../services/flash-sale/front.ts';
import { SaleSnapshot } from '../../services/flash-sale/sale-snapshot.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { tokenAccess, tokenOf } from '../setup/tokens.ts';

/** With places for 4, so the snapshot lets 13 newcomers through. */
const sale = {
  status: 'open',
  remaining: 1_000,
  queued: 96,
  queueCap: 100,
  drainPerSecond: 50,
  opensInMs: -1,
} as const;

/**
 * Sends purchases of newcomers all at once; resolves with the number of responses by status. `tokenFor`: with tokens.
 */
async function buy(
  listener: RequestListener,
  newcomers: number,
  tokenFor?: (user: string) => Promise<string>,
): Promise<Record<number, number>> {
  const { server, url } = await listen(listener, '127.0.0.1', 0);
  const client = new Pool(url, { connections: newcomers });
  cleanUps.push(async () => {
    await client.destroy();
    server.close();
  });
  const statuses: Record<number, number> = {};
  const path = `/flash-sales/${uuidv7()}/purchases`;
  const send = async (_: unknown, number: number) => {
    const userId = `newcomer-${number}`;
    const authorization = tokenFor && { Authorization: `Bearer ${await tokenFor(userId)}` };
    const headers = { 'Content-Type': 'application/json', ...authorization };
    const body = JSON.stringify({ userId });
    const { statusCode, body: received } = await client.request({ method: 'POST', path, headers, body });
    await received.dump();
    statuses[statusCode] = (statuses[statusCode] ?? 0) + 1;
  };
  await Promise.all(Array.from({ length: newcomers }, send));
  return statuses;
}

async function frontOfSale() {
  const snapshot = new SaleSnapshot({
    peek: async () => ({ ...sale, stock: 1_000, admitted: 0, users: [] }),
    onError: () => undefined,
    now: () => 0, // it is never read again
  });
  await snapshot.read();
  return front({
    admission: {
      reject: ({ userId, request }) => {
        const outcome = snapshot.reject(userId, request);
        return outcome && { outcome, status: sale.status, retryAfterSeconds: 1 };
      },
      returnAttempt: ({ request }) => snapshot.returnAttempt(request),
    },
    passedSnapshot: new WeakSet<IncomingMessage>(),
    readTicket: async () => undefined,
    log: pino({ level: 'silent' }),
  });
}

const route: RequestListener = (_, response) => setImmediate(() => response.writeHead(202).end());

test('purchases that are shed leave their attempts to others', async () => {
  const inFront = await frontOfSale();
  const guard = new OverloadGuard({ isSheddable: () => true, maxInFlight: 0 });
  cleanUps.push(() => guard.stop());

  expect(await buy(inFront(guard.guard(route), noAuthentication), 50)).toEqual({ 503: 50 });
  expect(await buy(inFront(route, noAuthentication), 50)).toEqual({ 202: 13, 429: 37 });
});

test('purchases with tokens that were never seen before use as many attempts as others', async () => {
  const inFront = await frontOfSale();
  const { authentication } = tokenAccess();
  expect(await buy(inFront(route, authentication), 50, tokenOf)).toEqual({ 202: 13, 429: 37 });
});

test('purchases with expired tokens use none: the route decides about them', async () => {
  const inFront = await frontOfSale();
  const { authentication } = tokenAccess();
  expect(await buy(inFront(route, authentication), 50, (user) => tokenOf(user, [], -60))).toEqual({ 202: 50 });
  expect(await buy(inFront(route, authentication), 50, tokenOf)).toEqual({ 202: 13, 429: 37 });
});
