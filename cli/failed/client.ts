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

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /** The newest `limit` messages that match, and whether there are more. Undefined if the server lacks this service. */
  async list(
    service: ServiceName,
    query: Query,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ items: ListedMessage[]; more: boolean } | undefined> {
    const items: ListedMessage[] = [];
    for (let after: string | null | undefined; ; ) {
      const paged = { ...query, limit: String(Math.min(PAGE, limit - items.length)), ...(after ? { after } : {}) };
      const response = await this.#http.request('GET', pathOf(service, '', paged), { signal });
      if (response.status === 404) return undefined;
      const page = expectBody(response, { status: 200, schema: failedMessagesPage, about: service });
      items.push(...page.items.map(({ payload: _, ...message }) => ({ service, ...message })));
      after = page.next;
      if (after === null || items.length >= limit) return { items, more: after !== null };
    }
  }

  async find(service: ServiceName, id: string, signal: AbortSignal): Promise<FailedMessage> {
    const response = await this.#http.request('GET', pathOf(service, `/${id}`), { signal });
    return expectBody(response, { status: 200, schema: failedMessage, about: `${service} ${id}` });
  }

  /** How many messages match. Undefined if the server lacks this service. */
  async preview(service: ServiceName, query: Query, signal: AbortSignal): Promise<RetryPreview | undefined> {
    const path = pathOf(service, '/retry', { ...query, dryRun: 'true' });
    const response = await this.#http.request('POST', path, { signal });
    return response.status === 404
      ? undefined
      : expectBody(response, { status: 200, schema: retryPreview, about: service });
  }

  async retryOne(service: ServiceName, id: string, signal: AbortSignal): Promise<void> {
    const response = await this.#http.request('POST', pathOf(service, `/${id}/retry`), { signal });
    expectBody(response, { status: 202, schema: retriedOne, about: `${service} ${id}` });
  }

  /**
   * Retries at most `limit` messages, the oldest first. Not interruptible, so that the number of retried messages is
   * always known; the client's timeouts bound it.
   */
  async retry(service: ServiceName, query: Query, limit: number): Promise<RetryResult> {
    const path = pathOf(service, '/retry', { ...query, limit: String(limit) });
    return expectBody(await this.#http.request('POST', path), { status: 202, schema: retryResult, about: service });
  }
}

const pathOf = (service: ServiceName, rest: string, query: Query = {}) =>
  `/failed-messages/${service}${rest}${Object.keys(query).length > 0 ? `?${new URLSearchParams(query)}` : ''}`;

/**
 * Calls `ask` for each of the `named` services, or for all. `ask` resolves with undefined for a service that the server
 * lacks: an error if it was named or if there is no other, otherwise a note.
 */
export async function askEach<T>(
  named: readonly ServiceName[] | undefined,
  url: string,
  ask: (service: ServiceName) => Promise<T | undefined>,
): Promise<Map<ServiceName, T>> {
  const results = new Map<ServiceName, T>();
  const absent: ServiceName[] = [];
  for (const service of new Set(named ?? serviceNames)) {
    const result = await ask(service);
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
