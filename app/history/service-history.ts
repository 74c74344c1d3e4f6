// The part of one service in the history of an order: what it has stored about the order, and its messages.
import { type HistoryItem, type HistoryPart, MAX_HISTORY_ITEMS } from '../../contracts/history.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { Queryable } from '../../infra/database/port.ts';
import { isoMicros } from '../../infra/database/sql.ts';
import type { HistoryEntry } from '../../infra/messaging/history.ts';
import { readMessageHistory } from '../../infra/messaging/message-history.ts';
import type { AnyService } from '../../infra/runtime/service.ts';
import { schemaOf } from '../schemas.ts';

/** An order, and events about it that a service may have received. */
export interface HistoryQuery {
  readonly orderId: string;
  readonly ticketId: string | undefined;
  readonly eventIds: readonly string[];
}

export interface ServiceHistoryOptions {
  readonly name: ServiceName;
  readonly service: Pick<AnyService, 'history'>;
  readonly database: Queryable;
  /** How long the inbox keeps done messages, and failed attempts. */
  readonly retentionDays: number;
}

/** The event that each service with a step publishes about its dead messages. */
const REPORT = 'step.failed';

const subjectsOf = ({ orderId, ticketId }: HistoryQuery) => (ticketId === undefined ? [orderId] : [orderId, ticketId]);

const byTime = (a: HistoryItem, b: HistoryItem) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0);

export class ServiceHistory {
  readonly name: ServiceName;
  readonly #options: ServiceHistoryOptions;

  constructor(options: ServiceHistoryOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Without its messages. At most MAX_HISTORY_ITEMS items, as each part. Rejects with DatabaseUnavailable. */
  async readOwn(query: HistoryQuery): Promise<HistoryItem[]> {
    const { service, database } = this.#options;
    return this.#itemsOf((await service.history?.(database, subjectsOf(query))) ?? []);
  }

  /** Rejects with DatabaseUnavailable. */
  async read(query: HistoryQuery): Promise<HistoryPart> {
    const { database, retentionDays } = this.#options;
    const own = await this.readOwn(query);
    // Afterwards, so that an event that was found there and not in the outbox has been published.
    const written = own.flatMap(({ eventId }) => eventId ?? []);
    const about = { subjects: subjectsOf(query), eventIds: [...query.eventIds, ...written], reportType: REPORT };
    const { entries, truncated } = await readMessageHistory(database, schemaOf(this.name), about);
    const [row] = await database.query<{ keptSince: string }>(
      `SELECT ${isoMicros("now() - $1::integer * interval '1 day'")} AS "keptSince"`,
      [retentionDays],
    );
    const items = [...own, ...this.#itemsOf(entries)].sort(byTime);
    return {
      items: items.slice(-MAX_HISTORY_ITEMS),
      truncated: truncated || items.length > MAX_HISTORY_ITEMS,
      keptSince: row?.keptSince ?? '',
    };
  }

  #itemsOf(entries: readonly HistoryEntry[]): HistoryItem[] {
    return entries.map(({ at, ...entry }) => ({ at, service: this.name, ...entry }));
  }
}
