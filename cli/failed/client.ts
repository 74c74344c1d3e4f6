// A client of the routes under /failed-messages, and of /operator-actions.
import type { z } from 'zod';
import {
  type ErrorGroup,
  errorGroupsPage,
  type FailedMessage,
  type FailedMessageDetails,
  failedMessageDetails,
  failedMessagesPage,
  type OperatorAction,
  operatorActionsPage,
  type RetryPreview,
  type RetryProgress,
  type RetryResult,
  retriedOne,
  retryPreview,
  retryProgress,
  retryResult,
} from '../../contracts/operations.ts';
import type { Page } from '../../contracts/pages.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { CliError } from '../../demos/shared/errors.ts';
import { expectBody, type HttpClient } from '../../demos/shared/http.ts';
import { note } from '../../demos/shared/terminal.ts';

/** Payloads have up to 64 KiB, so a larger page may exceed the largest response that HttpClient reads. */
const PAGE = 25;
/** Groups are small, and each page of them takes as long as any other. */
const GROUPS_PAGE = 200;

/** Without the payload, which may be large and which `show` prints. */
export type ListedMessage = Omit<FailedMessage, 'payload'> & { readonly service: ServiceName };

export type ListedGroup = ErrorGroup & { readonly service: ServiceName };

export type Query = Readonly<Record<string, string>>;

export class FailedMessages {
  readonly #http: HttpClient;
  readonly #signal: AbortSignal;

  constructor(http: HttpClient, signal: AbortSignal) {
    this.#http = http;
    this.#signal = signal;
  }

  /** The newest `limit` messages that match, and whether there are more. Undefined if the server lacks this service. */
  async list(service: ServiceName, query: Query, limit: number) {
    const list = { path: service, query, schema: failedMessagesPage, about: service };
    const found = await this.#pages(list, limit, ({ payload: _, ...message }) => ({ service, ...message }));
    return found satisfies { items: ListedMessage[] } | undefined;
  }

  /** The `limit` groups with the newest messages. Undefined if the server lacks this service. */
  async groups(service: ServiceName, limit: number) {
    const list = { path: `${service}/groups`, query: {}, schema: errorGroupsPage, about: service, page: GROUPS_PAGE };
    const found = await this.#pages(list, limit, (group) => ({ service, ...group }));
    return found satisfies { items: ListedGroup[] } | undefined;
  }

  /** The newest `limit` changes that operators have made, in one service or in all. */
  async actions(service: ServiceName | undefined, limit: number) {
    const query: Query = service === undefined ? {} : { service };
    const list = { path: '/operator-actions', query, schema: operatorActionsPage, about: 'operator actions' };
    const found = await this.#pages(list, limit, (action: OperatorAction) => action);
    if (!found) throw new CliError('the server has no operator actions: is this a Sluice server?');
    return found;
  }

  /** The first `limit` items of a list, each by `itemOf`, and whether there are more. Undefined after a 404. */
  async #pages<Item, Listed>(
    list: { path: string; query: Query; schema: z.ZodType<Page<Item>>; about: string; page?: number },
    limit: number,
    itemOf: (item: Item) => Listed,
  ): Promise<{ items: Listed[]; more: boolean } | undefined> {
    const { path, query, schema, about, page: most = PAGE } = list;
    const items: Listed[] = [];
    for (let after: string | null | undefined; ; ) {
      const paged = { ...query, limit: String(Math.min(most, limit - items.length)), ...(after ? { after } : {}) };
      const response = await this.#request('GET', path, { query: paged });
      if (response.status === 404) return undefined;
      const page = expectBody(response, { status: 200, schema, about });
      items.push(...page.items.map(itemOf));
      after = page.next;
      if (after === null || items.length >= limit) return { items, more: after !== null };
    }
  }

  async find(service: ServiceName, id: string): Promise<FailedMessageDetails> {
    const response = await this.#request('GET', `${service}/${id}`);
    return expectBody(response, { status: 200, schema: failedMessageDetails, about: `${service} ${id}` });
  }

  async discard(service: ServiceName, id: string, reason: string): Promise<FailedMessageDetails> {
    const response = await this.#request('POST', `${service}/${id}/discard`, { json: { reason } });
    return expectBody(response, { status: 200, schema: failedMessageDetails, about: `${service} ${id}` });
  }

  /** How far the messages are that this run has retried. */
  async progress(service: ServiceName, run: string): Promise<RetryProgress> {
    const response = await this.#request('GET', `${service}/retries/${run}`);
    return expectBody(response, { status: 200, schema: retryProgress, about: service });
  }

  /** How many messages match. Undefined if the server lacks this service. */
  async preview(service: ServiceName, query: Query): Promise<RetryPreview | undefined> {
    const response = await this.#request('POST', `${service}/retry`, { query: { ...query, dryRun: 'true' } });
    if (response.status === 404) return undefined;
    return expectBody(response, { status: 200, schema: retryPreview, about: service });
  }

  /** `data`: handles the event with this data. */
  async retryOne(
    service: ServiceName,
    id: string,
    { run, data }: { run: string; data?: Record<string, unknown> | undefined },
  ): Promise<void> {
    const json = data && { data };
    const response = await this.#request('POST', `${service}/${id}/retry`, { query: { run }, json, signal: null });
    expectBody(response, { status: 202, schema: retriedOne, about: `${service} ${id}` });
  }

  /**
   * Retries at most `limit` messages, the oldest first. Not interruptible, so that the number of retried messages is
   * always known; the client's timeouts bound it.
   */
  async retry(service: ServiceName, query: Query, limit: number): Promise<RetryResult> {
    const request = { query: { ...query, limit: String(limit) }, signal: null };
    const response = await this.#request('POST', `${service}/retry`, request);
    return expectBody(response, { status: 202, schema: retryResult, about: service });
  }

  /** `path`: below /failed-messages, unless it begins with a slash. */
  #request(
    method: 'GET' | 'POST',
    path: string,
    { query = {}, json, signal = this.#signal }: { query?: Query; json?: unknown; signal?: AbortSignal | null } = {},
  ) {
    const search = new URLSearchParams(query).toString();
    const url = `${path.startsWith('/') ? path : `/failed-messages/${path}`}${search && `?${search}`}`;
    return this.#http.request(method, url, { json, ...(signal ? { signal } : {}) });
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
