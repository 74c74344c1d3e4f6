// The relay publishes the rows of an outbox and deletes those that the broker confirmed. It may crash at any point: a
// row that was not confirmed or not deleted is published again, under the same id, once its lease has expired. The
// functions that publish the rows of each channel are at the end of this file.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Bus, OutgoingEvent } from '../bus/port.ts';
import { gridOf, Poll } from '../database/poll.ts';
import type { Database } from '../database/port.ts';
import type { MqttPublisher } from '../mqtt/port.ts';
import { publishedQos, userTopic } from '../mqtt/topics.ts';
import { ArrivalRate } from '../runtime/arrival-rate.ts';
import { backoff } from '../runtime/backoff.ts';
import { FailureStreak } from '../runtime/failure-streak.ts';
import { Loop } from '../runtime/loop.ts';
import { writeEvent } from './envelope.ts';
import { failpoint } from './failpoints.ts';
import type { CloudEvent, EventCatalogue } from './handler.ts';
import type { Channel, OutboxRow, RelayHandle } from './outbox.ts';

/**
 * Maximum number of rows in one publish. Once this many published rows await deletion, they are deleted without waiting
 * for a poll.
 */
const BATCH = 200;
/** While rows come steadily, the shortest time between two publishes. */
const GATHER_MS = 25;
/** While this many rows are in memory, further ones are written without a lease, for a later poll. */
const MAX_WAITING = 5_000;
/** Backoff of a row that the broker rejects or that does not match its schema. It does not delay the rows behind it. */
const REJECTED_BASE_MS = 1_000;
const REJECTED_MAX_MS = 60_000;

/** A row that was not published, and why. */
export interface Unpublished {
  readonly row: OutboxRow;
  readonly error: string;
  /** No row can be published, not only this one. */
  readonly transportDown: boolean;
}

export interface RelayOptions {
  readonly database: Database;
  readonly schema: string;
  readonly channel: Channel;
  /** Publishes rows and resolves, within `leaseMs`, with those that were not published. Never rejects. */
  readonly publish: (rows: readonly OutboxRow[]) => Promise<Unpublished[]>;
  readonly leaseMs: number;
  /**
   * Whether it also claims rows that it was not handed: those of processes that ended or could not publish. Default: yes.
   * One process of a service must.
   */
  readonly claims?: boolean;
  /** How often published rows are deleted and rows without a lease are claimed. */
  readonly pollMs: number;
  readonly log: Logger;
}

/**
 * On PGlite, a pause ends early, at a multiple of GRID_MS (see gridOf), but #lastClaim is the end of a claim. So a little
 * less than `pollMs` may have passed at the next turn.
 */
const CLAIM_ALLOWANCE_MS = 50;

export class Relay implements RelayHandle {
  readonly #options: RelayOptions;
  readonly #table: string;
  readonly #loop: Loop;
  readonly #poll: Poll;
  /** Rows that this process has claimed and not yet published. */
  #waiting: OutboxRow[] = [];
  /** Positions of rows that are published and not yet deleted. */
  #published: number[] = [];
  /** Publishes of which the transport rejected every row. */
  readonly #rejections: FailureStreak;
  #lastClaim = Number.NEGATIVE_INFINITY;
  /** If rows without a lease may exist, the next turn claims, however recent the last claim. */
  #mayHaveUnclaimed = true;
  #running = false;
  readonly #arrivals = new ArrivalRate();
  #lastPublish = Number.NEGATIVE_INFINITY;

  constructor(options: RelayOptions) {
    this.#options = options;
    const { database, schema, channel, pollMs, log } = options;
    this.#table = `${schema}.outbox`;
    const nextDue = `SELECT min(claimed_until) AS due FROM ${this.#table} WHERE channel = '${channel}'`;
    this.#poll = new Poll({ database, nextDue });
    this.#rejections = new FailureStreak({ name: `publish ${channel}`, log });
    this.#loop = new Loop({
      name: `relay ${channel}`,
      everyMs: pollMs,
      ...gridOf(database),
      log,
      turn: () => this.#turn(),
    });
  }

  start(): void {
    this.#running = true;
    this.#loop.start();
  }

  /** Finishes the current batch and releases the other rows, for another process or the next start. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#loop.stop();
    this.#rejections.end();
    if (this.#published.length > 0) await this.#deletePublishedAndClaim(0);
    const waiting = this.#waiting.splice(0);
    await this.#releaseClaims(waiting.map(({ position }) => ({ position, delayMs: 0 })));
  }

  leaseMs(): number {
    const takesMore = this.#running && !this.#loop.failing && this.#waiting.length < MAX_WAITING;
    return takesMore ? this.#options.leaseMs : 0;
  }

  enqueue(rows: readonly OutboxRow[]): void {
    this.#arrivals.add(rows.length);
    this.#waiting.push(...rows);
    this.#loop.wake();
  }

  wake(): void {
    this.#mayHaveUnclaimed = true;
    this.#loop.wake();
  }

  async #turn(): Promise<boolean> {
    const sinceClaimMs = performance.now() - this.#lastClaim;
    const due = this.#mayHaveUnclaimed || sinceClaimMs >= this.#options.pollMs - CLAIM_ALLOWANCE_MS;
    if (due || this.#published.length >= BATCH) {
      const always = this.#mayHaveUnclaimed || this.#published.length > 0;
      await this.#poll.run(() => this.#claim(), { always });
    }
    if (this.#waiting.length > 0 && this.#waiting.length < BATCH && this.#arrivals.steady) {
      const sinceMs = performance.now() - this.#lastPublish;
      if (sinceMs < GATHER_MS) await delay(GATHER_MS - sinceMs);
    }
    const rows = this.#waiting.splice(0, BATCH);
    if (rows.length > 0) {
      this.#lastPublish = performance.now();
      await this.#publish(rows);
    }
    // No pause while rows are left: after an outage, the backlog is published as fast as possible.
    return this.#waiting.length > 0 || this.#mayHaveUnclaimed;
  }

  async #claim(): Promise<void> {
    // Reset first: rows that are announced during the statement may not be visible to it.
    this.#mayHaveUnclaimed = false;
    const { claims = true } = this.#options;
    if (!claims && this.#published.length === 0) return;
    const rows = await this.#deletePublishedAndClaim(claims ? BATCH : 0).catch((error) => {
      this.#mayHaveUnclaimed = true;
      throw error;
    });
    this.#lastClaim = performance.now();
    // A row whose lease expired while it waited here is claimed again and already in memory. Publishing it twice would
    // make a backlog grow even faster.
    const held = new Set(this.#waiting.map(({ position }) => position));
    this.#waiting.push(...rows.filter(({ position }) => !held.has(position)));
    if (rows.length === BATCH) this.#mayHaveUnclaimed = true;
  }

  async #publish(rows: readonly OutboxRow[]): Promise<void> {
    const { channel, publish, log } = this.#options;
    failpoint('outbox.before-publish');
    const unpublished = await publish(rows);
    failpoint('outbox.before-delete');
    const kept = new Set(unpublished.map(({ row }) => row.position));
    for (const { position } of rows) if (!kept.has(position)) this.#published.push(position);
    if (unpublished.length < rows.length) this.#rejections.succeeded();
    if (unpublished.length === 0) return;

    const releases = unpublished.map(({ row, error, transportDown }) => ({
      position: row.position,
      delayMs: transportDown ? 0 : backoff(row.failures + 1, REJECTED_BASE_MS, REJECTED_MAX_MS),
      error: error.slice(0, 1000),
    }));
    const down = unpublished.find(({ transportDown }) => transportDown);
    if (down) {
      for (const { position } of this.#waiting.splice(0))
        releases.push({ position, delayMs: 0, error: 'transport down' });
    }
    await this.#releaseClaims(releases);
    // The error makes the loop pause before it claims again.
    if (down) throw new Error(`${unpublished.length} of ${rows.length} not published: ${down.error}`);
    if (unpublished.length === rows.length) this.#rejections.failed(unpublished[0]?.error);
    for (const { row, error } of unpublished)
      log.error({ channel, event: row.type, id: row.event_id, failures: row.failures + 1, error }, 'event rejected');
  }

  /**
   * Deletes the published rows and claims up to `limit` due ones, in their order: one statement, so that no transaction
   * is open during a publish. Rows that another relay has locked are skipped. A published row whose lease expired is
   * not claimed: if one statement deletes and updates the same row, PostgreSQL does only one of the two.
   */
  async #deletePublishedAndClaim(limit: number): Promise<OutboxRow[]> {
    const { database, channel, leaseMs } = this.#options;
    const rows = await database.query<OutboxRow>(
      `WITH published AS (DELETE FROM ${this.#table} WHERE position = ANY($1::bigint[]))
       UPDATE ${this.#table} SET claimed_until = now() + $2::integer * interval '1 ms'
       WHERE position = ANY (ARRAY(
         SELECT position FROM ${this.#table}
         WHERE channel = $3 AND claimed_until <= now() AND position <> ALL ($1::bigint[])
         ORDER BY position LIMIT $4 FOR UPDATE SKIP LOCKED))
       RETURNING position, event_id, type, subject, time, data, failures, true AS reclaimed`,
      [this.#published, leaseMs, channel, limit],
    );
    this.#published = [];
    return rows.sort((a, b) => a.position - b.position);
  }

  /** Makes rows due again after their delay. A row with a delay gets one more failure. */
  async #releaseClaims(rows: readonly { position: number; delayMs: number; error?: string }[]): Promise<void> {
    if (rows.length === 0) return;
    await this.#options.database.execute(
      `UPDATE ${this.#table} AS o
       SET claimed_until = now() + r."delayMs" * interval '1 ms', error = COALESCE(r.error, o.error),
         failures = failures + CASE WHEN r."delayMs" > 0 THEN 1 ELSE 0 END
       FROM json_to_recordset($1::json) AS r (position bigint, "delayMs" integer, error text)
       WHERE o.position = r.position AND o.position = ANY($2::bigint[])`,
      [JSON.stringify(rows), rows.map(({ position }) => position)],
    );
  }
}

export interface BusPublisher {
  readonly bus: Bus;
  readonly catalogue: EventCatalogue;
  /** Such as `/services/order`. */
  readonly source: string;
  /** See OutgoingEvent. Default: the type. */
  routingKeyOf?(event: CloudEvent): string;
  /** Called for each row whose event the broker has confirmed. */
  readonly onPublished: (event: OutgoingEvent) => void;
}

/** Channel `bus`: each row becomes an event on the bus. */
export async function publishToBus(options: BusPublisher, rows: readonly OutboxRow[]): Promise<Unpublished[]> {
  const { bus, catalogue, source, routingKeyOf, onPublished } = options;
  const unpublished: Unpublished[] = [];
  const outgoing: { row: OutboxRow; event: OutgoingEvent }[] = [];
  for (const row of rows) {
    try {
      const event = { ...writeEvent(catalogue, row, source, routingKeyOf), republished: row.reclaimed };
      outgoing.push({ row, event });
    } catch (error) {
      unpublished.push({ row, error: (error as Error).message, transportDown: false });
    }
  }
  // A resent event may be in the outbox twice; publishing it once is enough.
  const events = [...new Map(outgoing.map(({ event }) => [event.id, event])).values()];
  const failures = new Map((await bus.publish(events)).map(({ id, error }) => [id, error]));
  for (const { row, event } of outgoing) {
    const error = failures.get(event.id);
    if (error) {
      const transportDown = error.code === 'unavailable' || error.code === 'unconfirmed';
      unpublished.push({ row, error: error.message, transportDown });
    } else onPublished(event);
  }
  return unpublished;
}

/** Channel `user`: the data of each row goes to its user's MQTT topic, at least once. */
export async function publishToUsers(
  mqtt: MqttPublisher,
  prefix: string,
  rows: readonly OutboxRow[],
): Promise<Unpublished[]> {
  const published = await Promise.allSettled(
    rows.map((row) => mqtt.publish(userTopic(prefix, row.subject), row.data, { qos: publishedQos.user })),
  );
  return rows.flatMap((row, index) => {
    const outcome = published[index];
    return outcome?.status === 'rejected' ? [{ row, error: String(outcome.reason), transportDown: true }] : [];
  });
}
