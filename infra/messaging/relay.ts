// The relay takes rows out of an outbox and publishes them: claim a batch by a lease, publish, delete what was
// confirmed together with the next claim. It may crash anywhere: what was not confirmed or not deleted is published
// again once its lease has run out, under the same id.
import type { Logger } from 'pino';
import { backoff } from '../backoff.ts';
import type { Database } from '../database/port.ts';
import { failpoint } from '../failpoint.ts';
import { Loop } from '../loop.ts';
import type { Channel, ClaimedRow, Outbox } from './outbox.ts';

/** Rows per claim: what is in memory and unconfirmed at the most. */
const BATCH = 500;
/** How soon rows are found whose wake-up was lost, or whose lease ran out. */
const POLL_MS = 100;
/** Delays of a row that the broker refuses: it waits by itself, the others go on. */
const REFUSED_BASE_MS = 1_000;
const REFUSED_MAX_MS = 60_000;

/** A row that was not published, and why. */
export interface Unpublished {
  readonly row: ClaimedRow;
  readonly error: string;
  /** Nothing gets through, not just this row. */
  readonly transportDown: boolean;
}

export interface RelayOptions {
  readonly database: Database;
  readonly outbox: Outbox;
  readonly channel: Channel;
  /** Publishes the rows; answers those that were not. Answers within `leaseMs`, and never rejects. */
  readonly publish: (rows: readonly ClaimedRow[]) => Promise<Unpublished[]>;
  readonly leaseMs: number;
  readonly log: Logger;
}

export class Relay {
  readonly #options: RelayOptions;
  readonly #loop: Loop;
  /** Positions of rows that are published and not yet deleted. */
  #published: number[] = [];

  constructor(options: RelayOptions) {
    this.#options = options;
    const { outbox, channel, log } = options;
    this.#loop = new Loop({ name: `relay ${channel}`, everyMs: POLL_MS, log, turn: () => this.#turn(BATCH) });
    outbox.onWake(channel, () => this.#loop.wake());
  }

  start(): void {
    this.#loop.start();
  }

  /** Ends after the batch under way. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    if (this.#published.length > 0) await this.#turn(0);
  }

  async #turn(limit: number): Promise<boolean> {
    const { database, outbox, channel, leaseMs } = this.#options;
    const rows = await outbox.turnOver(database, channel, this.#published, leaseMs, limit);
    this.#published = [];
    if (rows.length === 0) return false;
    await this.#publish(rows);
    return true;
  }

  async #publish(rows: readonly ClaimedRow[]): Promise<void> {
    const { database, outbox, channel, publish, log } = this.#options;
    failpoint('outbox.before-publish');
    const unpublished = await publish(rows);
    failpoint('outbox.before-delete');
    const kept = new Set(unpublished.map(({ row }) => row.position));
    this.#published = rows.filter(({ position }) => !kept.has(position)).map(({ position }) => position);
    if (unpublished.length === 0) return;

    await outbox.release(
      database,
      unpublished.map(({ row, error, transportDown }) => ({
        position: row.position,
        delayMs: transportDown ? 0 : backoff(row.failures + 1, REFUSED_BASE_MS, REFUSED_MAX_MS),
        error: error.slice(0, 1000),
      })),
    );
    const down = unpublished.find(({ transportDown }) => transportDown);
    // The loop pauses before it claims again: the rows are safe where they are.
    if (down) throw new Error(`${unpublished.length} of ${rows.length} not published: ${down.error}`);
    for (const { row, error } of unpublished)
      log.error({ channel, event: row.type, id: row.event_id, failures: row.failures + 1, error }, 'event refused');
  }
}
