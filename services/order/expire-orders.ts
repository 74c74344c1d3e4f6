// Orders that nobody paid in time are cancelled, judged by the database's clock. One that is being paid is never among
// them: see the states in migrations/003_cancellation_and_payment.sql.
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import type { Database } from '../../infra/database/port.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { EXPIRE_ORDERS } from './store/orders.ts';

const EVERY_MS = 1_000;
/** In one statement; where there are more, the next one follows at once. */
const LIMIT = 200;

export function expireOrders(options: {
  readonly database: Database;
  readonly outbox: Outbox;
  readonly resendAfterMs: number;
  readonly log: Logger;
}): Loop {
  const { database, outbox, resendAfterMs, log } = options;
  return new Loop({
    name: 'expire orders',
    everyMs: EVERY_MS,
    log,
    turn: async () => {
      const eventIds = Array.from({ length: LIMIT }, () => uuidv7());
      const { length: expired } = await outbox.write(database, EXPIRE_ORDERS, eventIds, resendAfterMs);
      if (expired > 0) log.info({ count: expired }, 'cancelled: not paid in time');
      return expired === LIMIT;
    },
  });
}
