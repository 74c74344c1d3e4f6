// The relay publishes an outbox's rows and deletes those that the broker confirmed. It may crash anywhere: what was not
// confirmed or not deleted is published again once its lease has run out, under the same id.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import { backoff } from '../runtime/backoff.ts';
import { Loop } from '../runtime/loop.ts';
import { failpoint } from './failpoints.ts';
import type { Channel, ClaimedRow, Outbox, RelayDoor } from './outbox.ts';

/** Rows in one publish, and published rows that wait to be deleted, at the most. */
const BATCH = 200;
/** Rows handed over in memory that may wait; beyond, rows are written unclaimed and found by a later poll. */
const MAX_WAITING = 5_000;
/** Delays of a row that the broker rejects: it waits by itself, the others go on. */
const REJECTED_BASE_MS = 1_000;
const REJECTED_MAX_MS = 60_000;

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
  /** How often published rows are deleted and rows are looked for that nobody holds. */
  readonly pollMs: number;
  readonly log: Logger;
}

export class Relay implements RelayDoor {
  readonly #options: RelayOptions;
  readonly #loop: Loop;
  /** Claimed by this process, not published yet. */
  #waiting: ClaimedRow[] = [];
  /** Positions of rows that are published and not yet deleted. */
  #published: number[] = [];
  #lastTurnOver = Number.NEGATIVE_INFINITY;
  /** There may be rows that nobody has claimed: the next turn looks, however recent the last look. */
  #unclaimed = true;
  #running = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    const { outbox, channel, pollMs, log } = options;
    this.#loop = new Loop({ name: `relay ${channel}`, everyMs: pollMs, log, turn: () => this.#turn() });
    outbox.connect(channel, this);
  }

  start(): void {
    this.#running = true;
    this.#loop.start();
  }

  /** Ends after the batch under way; what is not published is given back, for others or for the next start. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#loop.stop();
    const { database, outbox, channel, leaseMs } = this.#options;
    if (this.#published.length > 0) await outbox.turnOver(database, channel, this.#published.splice(0), leaseMs, 0);
    if (this.#waiting.length > 0) await outbox.giveBack(database, this.#waiting.splice(0));
  }

  leaseMs(): number {
    const takesMore = this.#running && !this.#loop.failing && this.#waiting.length < MAX_WAITING;
    return takesMore ? this.#options.leaseMs : 0;
  }

  offer(rows: readonly ClaimedRow[]): void {
    this.#waiting.push(...rows);
    this.#loop.wake();
  }

  wake(): void {
    this.#unclaimed = true;
    this.#loop.wake();
  }

  async #turn(): Promise<boolean> {
    const due = this.#unclaimed || performance.now() - this.#lastTurnOver >= this.#options.pollMs;
    if (due || this.#published.length >= BATCH) await this.#turnOver();
    const rows = this.#waiting.splice(0, BATCH);
    if (rows.length > 0) await this.#publish(rows);
    // Without a pause while there is more: after an outage the backlog goes as fast as it is published.
    return this.#waiting.length > 0 || this.#unclaimed;
  }

  /** Deletes what was published and claims what nobody holds. */
  async #turnOver(): Promise<void> {
    const { database, outbox, channel, leaseMs } = this.#options;
    // Before the look: a wake-up that comes during it may tell of rows that it does not see.
    this.#unclaimed = false;
    const rows = await outbox.turnOver(database, channel, this.#published, leaseMs, BATCH).catch((error) => {
      this.#unclaimed = true;
      throw error;
    });
    this.#published = [];
    this.#lastTurnOver = performance.now();
    // Where a lease ran out while its row waited here, it is only renewed: published twice, rows that come too fast
    // would come ever faster.
    const held = new Set(this.#waiting.map(({ position }) => position));
    this.#waiting.push(...rows.filter(({ position }) => !held.has(position)));
    if (rows.length === BATCH) this.#unclaimed = true;
  }

  async #publish(rows: readonly ClaimedRow[]): Promise<void> {
    const { channel, publish, log } = this.#options;
    failpoint('outbox.before-publish');
    const unpublished = await publish(rows);
    failpoint('outbox.before-delete');
    const kept = new Set(unpublished.map(({ row }) => row.position));
    for (const { position } of rows) if (!kept.has(position)) this.#published.push(position);
    if (unpublished.length === 0) return;

    const down = unpublished.find(({ transportDown }) => transportDown);
    await this.#release(unpublished, down !== undefined);
    // The loop pauses before it claims again; until then rows are left where they are safe.
    if (down) throw new Error(`${unpublished.length} of ${rows.length} not published: ${down.error}`);
    for (const { row, error } of unpublished)
      log.error({ channel, event: row.type, id: row.event_id, failures: row.failures + 1, error }, 'event rejected');
  }

  async #release(unpublished: readonly Unpublished[], transportDown: boolean): Promise<void> {
    const { database, outbox } = this.#options;
    const rows = unpublished.map(({ row, error, transportDown }) => ({
      position: row.position,
      delayMs: transportDown ? 0 : backoff(row.failures + 1, REJECTED_BASE_MS, REJECTED_MAX_MS),
      error: error.slice(0, 1000),
    }));
    if (transportDown) {
      for (const { position } of this.#waiting.splice(0)) rows.push({ position, delayMs: 0, error: 'transport down' });
    }
    await outbox.release(database, rows);
  }
}
