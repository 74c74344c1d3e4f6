// A client of the routes under /failed-messages, and of /operator-actions.
import type { RequestOf, RouteKey } from '../../contracts/client.ts';
import type {
  ErrorGroup,
  FailedMessage,
  FailedMessageDetails,
  OperatorAction,
  RetryPreview,
  RetryProgress,
  RetryResult,
} from '../../contracts/operations.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { CliError } from '../../demos/shared/errors.ts';
import { bodyOf, type HttpClient, type HttpResponse } from '../../demos/shared/http.ts';
import { note } from '../../demos/shared/terminal.ts';

/** Payloads have up to 64 KiB, so a larger page may exceed the largest response that HttpClient reads. */
const PAGE = 25;
/** Groups are small, and each page of them takes as long as any other. */
const GROUPS_PAGE = 200;

/** Without the payload, which may be large and which `show` prints. */
export type ListedMessage = Omit<FailedMessage, 'payload'> & { readonly service: ServiceName };

export type ListedGroup = ErrorGroup & { readonly service: ServiceName };

export type ListFilter = NonNullable<RequestOf<'GET /failed-messages/:service'>['query']>;
export type RetryFilter = NonNullable<RequestOf<'POST /failed-messages/:service/retry'>['query']>;

export class FailedMessages {
  readonly #http: HttpClient;
  readonly #signal: AbortSignal;

  constructor(http: HttpClient, signal: AbortSignal) {
    this.#http = http;
    this.#signal = signal;
  }

  /** The newest `limit` messages that match, and whether there are more. Undefined if the server lacks this service. */
  list(service: ServiceName, filter: ListFilter, limit: number): Promise<Listed<ListedMessage> | undefined> {
    return pages({ limit, page: PAGE }, async (cursor) => {
      const request = { params: { service }, query: { ...filter, ...cursor } };
      const response = await this.#call('GET /failed-messages/:service', request);
      if (response.status === 404) return undefined;
      const { items, next } = bodyOf(response, 200, service);
      return { next, items: items.map(({ payload: _, ...message }) => ({ service, ...message })) };
    });
  }

  /** The `limit` groups with the newest messages. Undefined if the server lacks this service. */
  groups(service: ServiceName, limit: number): Promise<Listed<ListedGroup> | undefined> {
    return pages({ limit, page: GROUPS_PAGE }, async (query) => {
      const response = await this.#call('GET /failed-messages/:service/groups', { params: { service }, query });
      if (response.status === 404) return undefined;
      const { items, next } = bodyOf(response, 200, service);
      return { next, items: items.map((group) => ({ service, ...group })) };
    });
  }

  /** The newest `limit` changes that operators have made, in one service or in all. */
  async actions(service: ServiceName | undefined, limit: number): Promise<Listed<OperatorAction>> {
    const found = await pages({ limit, page: PAGE }, async (cursor) => {
      const response = await this.#call('GET /operator-actions', { query: { service, ...cursor } });
      return response.status === 404 ? undefined : bodyOf(response, 200, 'operator actions');
    });
    if (!found) throw new CliError('the server has no operator actions: is this a Sluice server?');
    return found;
  }

  async find(service: ServiceName, id: string): Promise<FailedMessageDetails> {
    const response = await this.#call('GET /failed-messages/:service/:id', { params: { service, id } });
    return bodyOf(response, 200, `${service} ${id}`);
  }

  async discard(service: ServiceName, id: string, reason: string): Promise<FailedMessageDetails> {
    const request = { params: { service, id }, body: { reason } };
    const response = await this.#call('POST /failed-messages/:service/:id/discard', request);
    return bodyOf(response, 200, `${service} ${id}`);
  }

  /** How far the messages are that this run has retried. */
  async progress(service: ServiceName, run: string): Promise<RetryProgress> {
    const response = await this.#call('GET /failed-messages/:service/retries/:run', { params: { service, run } });
    return bodyOf(response, 200, service);
  }

  /** How many messages match. Undefined if the server lacks this service. */
  async preview(service: ServiceName, filter: RetryFilter): Promise<RetryPreview | undefined> {
    const request = { params: { service }, query: { ...filter, dryRun: true } };
    const response = await this.#call('POST /failed-messages/:service/retry', request);
    return response.status === 404 ? undefined : bodyOf(response, 200, service);
  }

  /** `data`: handles the event with this data. Not interruptible, as `retry`. */
  async retryOne(
    service: ServiceName,
    id: string,
    { run, data }: { run: string; data?: Record<string, unknown> | undefined },
  ): Promise<void> {
    const request = { params: { service, id }, query: { run }, ...(data && { body: { data } }) };
    const response = await this.#http.call('POST /failed-messages/:service/:id/retry', request);
    bodyOf(response, 202, `${service} ${id}`);
  }

  /**
   * Retries at most `limit` messages, the oldest first. Not interruptible, so that the number of retried messages is
   * always known; the client's timeouts bound it.
   */
  async retry(service: ServiceName, filter: RetryFilter, limit: number): Promise<RetryResult> {
    const request = { params: { service }, query: { ...filter, limit } };
    return bodyOf(await this.#http.call('POST /failed-messages/:service/retry', request), 202, service);
  }

  #call<Key extends RouteKey>(key: Key, parts: RequestOf<Key>): Promise<HttpResponse<Key>> {
    return this.#http.call(key, parts, { signal: this.#signal });
  }
}

interface Cursor {
  readonly limit: number;
  readonly after: string | undefined;
}

/** The first items of a list, and whether there are more. */
interface Listed<Item> {
  readonly items: readonly Item[];
  readonly more: boolean;
}

/** The first `limit` items, at most `page` in a request. Undefined if `read` resolves with undefined. */
async function pages<Item>(
  { limit, page }: { readonly limit: number; readonly page: number },
  read: (cursor: Cursor) => Promise<{ items: Item[]; next: string | null } | undefined>,
): Promise<Listed<Item> | undefined> {
  const items: Item[] = [];
  for (let after: string | undefined; ; ) {
    const found = await read({ limit: Math.min(page, limit - items.length), after });
    if (!found) return undefined;
    items.push(...found.items);
    after = found.next ?? undefined;
    if (after === undefined || items.length >= limit) return { items, more: after !== undefined };
  }
}

/**
 * Calls `request` for each of the `named` services, or for all. `request` resolves with undefined for a service that
 * the server lacks: an error if it was named or if there is no other, otherwise a note.
 */
export async function requestEach<T>(
  named: readonly ServiceName[] | undefined,
  url: string,
  request: (service: ServiceName) => Promise<T | undefined>,
): Promise<Map<ServiceName, T>> {
  const results = new Map<ServiceName, T>();
  const absent: ServiceName[] = [];
  for (const service of new Set(named ?? serviceNames)) {
    const result = await request(service);
    if (result === undefined) absent.push(service);
    else results.set(service, result);
  }
  if (absent.length === 0) return results;
  if (results.size === 0 && named === undefined)
    throw new CliError(`${url} runs none of the services: is this a Sluice server?`);
  const elsewhere = `${url} does not run ${absent.join(', ')}: use the --url of the process that does`;
  if (named !== undefined) throw new CliError(elsewhere);
  note(elsewhere);
  return results;
}
