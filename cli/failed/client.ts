// A client of the routes under /failed-messages.
import {
  type FailedMessage,
  failedMessage,
  failedMessagesPage,
  type RetryPreview,
  type RetryResult,
  retriedOne,
  retryPreview,
  retryResult,
} from '../../contracts/operations.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { CliError } from '../../demos/shared/errors.ts';
import { expectBody, type HttpClient } from '../../demos/shared/http.ts';
import { note } from '../../demos/shared/terminal.ts';

/** Payloads have up to 64 KiB, so a larger page may exceed the largest response that HttpClient reads. */
const PAGE = 25;

/** Without the payload, which may be large and which `show` prints. */
export type ListedMessage = Omit<FailedMessage, 'payload'> & { readonly service: ServiceName };

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
    const items: ListedMessage[] = [];
    for (let after: string | null | undefined; ; ) {
      const paged = { ...query, limit: String(Math.min(PAGE, limit - items.length)), ...(after ? { after } : {}) };
      const response = await this.#request('GET', service, paged);
      if (response.status === 404) return undefined;
      const page = expectBody(response, { status: 200, schema: failedMessagesPage, about: service });
      items.push(...page.items.map(({ payload: _, ...message }) => ({ service, ...message })));
      after = page.next;
      if (after === null || items.length >= limit) return { items, more: after !== null };
    }
  }

  async find(service: ServiceName, id: string): Promise<FailedMessage> {
    const response = await this.#request('GET', `${service}/${id}`);
    return expectBody(response, { status: 200, schema: failedMessage, about: `${service} ${id}` });
  }

  /** How many messages match. Undefined if the server lacks this service. */
  async preview(service: ServiceName, query: Query): Promise<RetryPreview | undefined> {
    const response = await this.#request('POST', `${service}/retry`, { ...query, dryRun: 'true' });
    if (response.status === 404) return undefined;
    return expectBody(response, { status: 200, schema: retryPreview, about: service });
  }

  async retryOne(service: ServiceName, id: string): Promise<void> {
    const response = await this.#request('POST', `${service}/${id}/retry`);
    expectBody(response, { status: 202, schema: retriedOne, about: `${service} ${id}` });
  }

  /**
   * Retries at most `limit` messages, the oldest first. Not interruptible, so that the number of retried messages is
   * always known; the client's timeouts bound it.
   */
  async retry(service: ServiceName, query: Query, limit: number): Promise<RetryResult> {
    const response = await this.#request('POST', `${service}/retry`, { ...query, limit: String(limit) }, null);
    return expectBody(response, { status: 202, schema: retryResult, about: service });
  }

  #request(method: 'GET' | 'POST', path: string, query: Query = {}, signal: AbortSignal | null = this.#signal) {
    const search = new URLSearchParams(query).toString();
    const url = `/failed-messages/${path}${search && `?${search}`}`;
    return this.#http.request(method, url, signal ? { signal } : {});
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
