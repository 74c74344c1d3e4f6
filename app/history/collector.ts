// Collects the history of an order: the order service's part tells which events it wrote, the other services' parts
// tell what they received and which events they wrote, and the order service's inbox has what came back.
import type { HistoryPart, OrderHistory } from '../../contracts/history.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import type { Database } from '../../infra/database/port.ts';
import { within } from '../../infra/runtime/promises.ts';
import { reasonOf } from '../../infra/runtime/reason.ts';
import { findHistoryOrder } from '../../services/order/store/history.ts';
import { mergeParts } from './merge.ts';
import type { RemoteHistory } from './remote-history.ts';
import type { HistoryQuery, ServiceHistory } from './service-history.ts';

/** A service that takes longer is named as missing. */
const PART_WITHIN_MS = 1_000;

export interface HistoryCollectorOptions {
  readonly database: Pick<Database, 'query'>;
  /** The order service's part. */
  readonly order: ServiceHistory;
  /** The parts of the other services in this process. */
  readonly others: readonly ServiceHistory[];
  /** The parts of the services in other processes. */
  readonly remote: Pick<RemoteHistory, 'read'>;
}

export class HistoryCollector {
  readonly #options: HistoryCollectorOptions;

  constructor(options: HistoryCollectorOptions) {
    this.#options = options;
  }

  /**
   * The history of the order with this id, or of the order of the ticket with this id; undefined without such an order.
   * Rejects with DatabaseUnavailable if the order service's database is away. Holds at most MAX_HISTORY_ITEMS items of
   * each service.
   */
  async read(id: string): Promise<OrderHistory | undefined> {
    const { database, order } = this.#options;
    const found = await findHistoryOrder(database, id);
    if (!found) return undefined;
    const { orderId } = found;
    const about: HistoryQuery = { orderId, ticketId: found.ticketId ?? undefined, eventIds: [] };
    const own = await order.readOwn(about);
    const query = { ...about, eventIds: own.flatMap(({ eventId }) => eventId ?? []) };
    const asked = serviceNames.filter(
      (name) => name !== order.name && (name !== 'flash-sale' || query.ticketId !== undefined),
    );
    const outcomes = await Promise.all(asked.map((name) => this.#readOther(name, query)));

    const parts = new Map<ServiceName, HistoryPart>();
    const missing: OrderHistory['missing'] = [];
    for (const outcome of outcomes) {
      if ('part' in outcome) parts.set(outcome.service, outcome.part);
      else missing.push(outcome);
    }
    const written = [...parts.values()].flatMap(({ items }) => items.filter(({ kind }) => kind === 'written'));
    const eventIds = written.flatMap(({ eventId }) => eventId ?? []);
    parts.set(order.name, await order.read({ ...about, eventIds }));
    return { orderId, ...(query.ticketId && { ticketId: query.ticketId }), ...mergeParts(parts), missing };
  }

  async #readOther(service: ServiceName, query: HistoryQuery) {
    const { others, remote } = this.#options;
    const here = others.find(({ name }) => name === service);
    try {
      const part = here
        ? await within(PART_WITHIN_MS, here.read(query))
        : await remote.read(service, query, PART_WITHIN_MS);
      return { service, part };
    } catch (error) {
      return { service, reason: reasonOf(error) };
    }
  }
}
