// Whoever asks repeats until answered: an order whose steps are overdue sends order.placed again. Every service answers
// a repeated question with the answer it gave, so even a broker that forgets costs time, never an effect.
import type { Logger } from 'pino';
import type { Database } from '../../infra/database/port.ts';
import { Loop } from '../../infra/loop.ts';
import { askAgain } from './store.ts';

const SWEEP_MS = 500;
/** Orders asked for in one sweep: at most twice as many a second and process, so that asking is never the load. */
const SWEEP_LIMIT = 100;

export function askAgainLoop(options: {
  readonly database: Database;
  /** Called when that many events were put into the outbox. */
  readonly onAsked: (count: number) => void;
  readonly askAgainMs: number;
  readonly log: Logger;
}): Loop {
  const { database, onAsked, askAgainMs, log } = options;
  return new Loop({
    name: 'ask again',
    everyMs: Math.min(SWEEP_MS, askAgainMs),
    log,
    turn: async () => {
      const asked = await askAgain(database, askAgainMs, SWEEP_LIMIT);
      if (asked > 0) {
        log.info({ count: asked }, 'asked again for orders whose steps are overdue');
        onAsked(asked);
      }
      return false;
    },
  });
}
