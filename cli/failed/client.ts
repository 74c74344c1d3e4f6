// The failed messages as the command meets them, over HTTP: one service's at a time, or those of several services.
import { z } from 'zod';
import type { FailedMessage, RetryPreview } from '../../contracts/operations.ts';
import { pageSchema } from '../../contracts/pages.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { uuid } from '../../contracts/text.ts';
import { CliError } from '../../demos/shared/errors.ts';
import { expectBody, type HttpClient } from '../../demos/shared/http.ts';
import { note } from '../../demos/shared/terminal.ts';

/** A page's messages come with payloads of up to 64 KiB each, so that a larger one may exceed what the client reads. */
const PAGE = 25;

const answeredMessage = z.looseObject({
  id: uuid,
  type: z.string().nullable(),
  subject: z.string().nullable(),
  status: z.enum(['retrying', 'dead']),
  attempts: z.number(),
  error: z.string().nullable(),
  nextAttemptAt: z.string().nullable(),
  receivedAt: z.string(),
  payload: z.string(),
  payloadBytes: z.number(),
  truncated: z.boolean(),
});
const answeredPage = pageSchema(answeredMessage);
const answeredPreview = z.object({ matching: z.number(), truncated: z.number(), asOf: z.string() });
const answeredRetry = z.object({ retried: z.number(), left: z.number() });

/** Without its payload, which may be large: `show` has it. */
export type ListedMessage = Omit<FailedMessage, 'payload'> & { readonly service: ServiceName };

export type Query = Readonly<Record<string, string>>;

export class FailedMessages {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /** The newest `limit` that match, and whether there are more. Undefined: no process there runs this service. */
  async list(
    service: ServiceName,
    query: Query,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ items: ListedMessage[]; more: boolean } | undefined> {
    const items: ListedMessage[] = [];
    for (let after: string | null | undefined; ; ) {
      const asked = { ...query, limit: String(Math.min(PAGE, limit - items.length)), ...(after ? { after } : {}) };
      const answer = await this.#http.request('GET', pathOf(service, '', asked), { signal });
      if (answer.status === 404) return undefined;
      const page = expectBody(answer, { status: 200, schema: answeredPage, about: service });
      items.push(...page.items.map(({ payload: _, ...message }) => ({ service, ...message })));
      after = page.next;
      if (after === null || items.length >= limit) return { items, more: after !== null };
    }
  }

  async find(service: ServiceName, id: string, signal: AbortSignal): Promise<FailedMessage> {
    const answer = await this.#http.request('GET', pathOf(service, `/${id}`), { signal });
    return expectBody(answer, { status: 200, schema: answeredMessage, about: `${service} ${id}` });
  }

  /** How many match. Undefined: no process there runs this service. */
  async preview(service: ServiceName, query: Query, signal: AbortSignal): Promise<RetryPreview | undefined> {
    const path = pathOf(service, '/retry', { ...query, dryRun: 'true' });
    const answer = await this.#http.request('POST', path, { signal });
    return answer.status === 404
      ? undefined
      : expectBody(answer, { status: 200, schema: answeredPreview, about: service });
  }

  async retryOne(service: ServiceName, id: string, signal: AbortSignal): Promise<void> {
    const answer = await this.#http.request('POST', pathOf(service, `/${id}/retry`), { signal });
    expectBody(answer, { status: 202, schema: z.unknown(), about: `${service} ${id}` });
  }

  /**
   * Retries at most `limit`, the oldest first. Cannot be interrupted, so that it is always known how many there were;
   * the client's own time limits bound it.
   */
  async retry(service: ServiceName, query: Query, limit: number): Promise<{ retried: number; left: number }> {
    const path = pathOf(service, '/retry', { ...query, limit: String(limit) });
    const answer = await this.#http.request('POST', path);
    return expectBody(answer, { status: 202, schema: answeredRetry, about: service });
  }
}

const pathOf = (service: ServiceName, rest: string, query: Query = {}) =>
  `/failed-messages/${service}${rest}${Object.keys(query).length > 0 ? `?${new URLSearchParams(query)}` : ''}`;

/**
 * Asks for each of the services, `named` ones or all. Services that run elsewhere are told in one line; where they were
 * named, or where there is none at all, nothing is done.
 */
export async function askEach<T>(
  named: readonly ServiceName[] | undefined,
  url: string,
  ask: (service: ServiceName) => Promise<T | undefined>,
): Promise<Map<ServiceName, T>> {
  const answers = new Map<ServiceName, T>();
  const absent: ServiceName[] = [];
  for (const service of new Set(named ?? serviceNames)) {
    const answer = await ask(service);
    if (answer === undefined) absent.push(service);
    else answers.set(service, answer);
  }
  if (absent.length === 0) return answers;
  if (answers.size === 0 && named === undefined) throw new CliError(`no service answers at ${url}: is it a Sluice?`);
  const elsewhere = `${url} does not run ${absent.join(', ')}: ask their own process with --url`;
  if (named !== undefined) throw new CliError(elsewhere);
  note(elsewhere);
  return answers;
}
