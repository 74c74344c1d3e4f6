// Cancels orders that are not paid in time, by the database's clock. An order whose payment is under way does not
// expire: see the states in migrations/006_confirmed.sql.
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import type { Database } from '../../infra/database/port.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { EXPIRE_ORDERS } from './store/orders.ts';

const EVERY_MS = 1_000;
/** Orders in one statement; if more are due, the next statement follows at once. */
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
