// Whoever asks repeats until answered. Every service answers a repeated question with the answer it gave, so even a
// broker that forgets costs time, never an effect.
import type { Logger } from 'pino';
import type { Metrics } from '../observability/metrics.ts';
import { Loop } from '../runtime/loop.ts';
import { integer, variable } from '../runtime/settings.ts';

export const resendSettings = {
  RESEND_AFTER_MS: variable(
    integer(100, 3_600_000),
    '30000',
    'A request without a reply is sent again after this; doubles up to an hour.',
  ),
};

const SWEEP_MS = 500;
/** Questions in one sweep: at most twice as many a second and process, so that asking is never the load. */
const SWEEP_LIMIT = 100;

export function resendLoop(options: {
  /** The event that asks. */
  readonly question: string;
  /** Puts the questions that are overdue back into the outbox, at most `limit`; answers how many. */
  readonly ask: (limit: number) => Promise<number>;
  readonly resendAfterMs: number;
  readonly metrics: Metrics;
  readonly log: Logger;
}): Loop {
  const { question, ask, resendAfterMs, metrics, log } = options;
  return new Loop({
    name: `ask again ${question}`,
    everyMs: Math.min(SWEEP_MS, resendAfterMs),
    log,
    turn: async () => {
      const asked = await ask(SWEEP_LIMIT);
      if (asked > 0) {
        metrics.resent.inc({ type: question }, asked);
        log.info({ count: asked, question }, 'asked again: the answers are overdue');
      }
      return false;
    },
  });
}
