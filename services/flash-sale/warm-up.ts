// Purchases at a sale that exists only here, so that V8 has compiled the code that answers a flood before it comes.
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { createApp } from '../../infra/http/app.ts';
import { noAuthentication } from '../../infra/http/authentication.ts';
import { sendRequests } from '../../infra/http/warm-up.ts';
import { retryAfterSeconds } from './flash-sale.ts';
import { front } from './front.ts';
import { purchaseRoute } from './routes.ts';
import type { SaleAdmission } from './sale-admission.ts';
import { SaleSnapshot } from './sale-snapshot.ts';
import type { Peek } from './store/sales.ts';

/** One in this many purchases is admitted. The others find a full queue, as in a flood. */
const ADMITTED_EVERY = 8;

/** A sale whose queue is full. */
const FULL: Peek = {
  status: 'open',
  stock: 1_000,
  remaining: 1_000,
  admitted: 0,
  queued: 100,
  queueCap: 100,
  drainPerSecond: 100,
  opensInMs: 0,
  users: [],
};

/** Resolves with the number of responses by status. */
export async function warmUpPurchases(log: Logger): Promise<Record<number, number>> {
  const snapshot = new SaleSnapshot({ peek: async () => FULL, onError: () => undefined });
  await snapshot.read();
  const saleId = uuidv7();
  const admission: Pick<SaleAdmission, 'reject' | 'returnAttempt' | 'decide'> = {
    returnAttempt: () => undefined,
    reject: ({ userId }) => {
      const outcome = userId.startsWith('admitted') ? undefined : snapshot.reject(userId);
      if (!outcome) return undefined;
      return { outcome, status: FULL.status, retryAfterSeconds: retryAfterSeconds(outcome, FULL, Math.random()) };
    },
    decide: async () => ({ outcome: 'admitted', ticketId: uuidv7(), position: FULL.queued }),
  };
  const options = {
    admission,
    passedSnapshot: new WeakSet(),
    readTicket: async () => undefined,
    record: async () => undefined,
    log,
  };
  const app = createApp(log, (api) => purchaseRoute(api, options));
  return sendRequests(front(options)(app, noAuthentication), (number) => ({
    method: 'POST',
    path: `/flash-sales/${saleId}/purchases`,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ userId: `${number % ADMITTED_EVERY === 0 ? 'admitted' : 'rejected'}-${number}` }),
  }));
}
