// Reads the services' facts over HTTP, checked against the contract. Every request is safe to repeat, and is repeated
// after a 503.
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import {
  type Fact,
  type FactList,
  factLists,
  factsPage,
  MAX_IDS,
  messagesAbout,
  messagesSummary,
  resent,
  serviceOfList,
} from '../../../contracts/facts.ts';
import type { Page } from '../../../contracts/pages.ts';
import type { ServiceName } from '../../../contracts/services.ts';
import { CliError } from '../errors.ts';
import { COUNTING_TIMEOUT_MS, expectBody, HttpClient, problemOf } from '../http.ts';

/** A million facts take 500 requests; a sweep has two pages of each service in memory. */
const PAGE = 2_000;
const TRIES = 5;
const PAUSE_MS = 500;
/** To one address: two pages of each service. */
const CONNECTIONS = 8;

export class FactsClient {
  readonly #clients = new Map<string, HttpClient>();
  readonly #urlOf: (service: ServiceName) => string;
  readonly #signal: AbortSignal;

  constructor(urlOf: (service: ServiceName) => string, signal: AbortSignal) {
    this.#urlOf = urlOf;
    this.#signal = signal;
  }

  /** Reads the facts of a list in the order of their ids: the page after an id, or the first one. */
  pages<L extends FactList>(list: L) {
    return (after: string | undefined) =>
      this.#facts(list, `limit=${PAGE}${after === undefined ? '' : `&after=${after}`}`);
  }

  /** The facts of any number of ids. Ids without a fact are left out. */
  async facts<L extends FactList>(list: L, ids: readonly string[]): Promise<Map<string, Fact<L>>> {
    const pages = await inParts(ids, (part) => this.#facts(list, `ids=${part.join(',')}`));
    return new Map(pages.flatMap(({ items }) => items.map((fact) => [fact.id, fact] as const)));
  }

  messages(service: ServiceName) {
    return this.#request(service, `/audit/${service}/messages`, messagesSummary);
  }

  /** The messages about these orders or tickets at this service, with where each is. */
  async messagesAbout(service: ServiceName, ids: readonly string[]) {
    const pages = await inParts(ids, (part) =>
      this.#request(service, `/audit/${service}/messages?ids=${part.join(',')}`, messagesAbout),
    );
    return pages.flatMap(({ items }) => items);
  }

  /** Makes a service resend its pending requests at once; resolves with the number of orders or tickets. */
  async resend(service: 'order' | 'flash-sale', ids: readonly string[]): Promise<number> {
    const counts = await inParts(ids, (part) =>
      this.#request(service, `/audit/${service}/resend`, resent, { ids: part }),
    );
    return counts.reduce((sum, { resent }) => sum + resent, 0);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
  }

  #facts<L extends FactList>(list: L, query: string) {
    const schema = factsPage(factLists[list]) as unknown as z.ZodType<Page<Fact<L>>>;
    return this.#request(serviceOfList(list), `/audit/${list}?${query}`, schema);
  }

  /** A GET, or with `json` a POST. */
  async #request<T>(service: ServiceName, path: string, schema: z.ZodType<T>, json?: object): Promise<T> {
    const [method, status] = json ? (['POST', 202] as const) : (['GET', 200] as const);
    const about = `${service} at ${this.#urlOf(service)}`;
    for (let attempt = 1; ; attempt++) {
      const response = await this.#client(service).request(method, path, { signal: this.#signal, json });
      if (response.status === 404) {
        const { title } = problemOf(response);
        throw new CliError(`${about}: 404 ${title}: does the ${service} service run there? (--at ${service}=<url>)`);
      }
      if (response.status !== 503 || attempt === TRIES) return expectBody(response, { status, schema, about });
      await sleep(PAUSE_MS * attempt, undefined, { signal: this.#signal });
    }
  }

  #client(service: ServiceName): HttpClient {
    const url = this.#urlOf(service);
    const client = this.#clients.get(url) ?? new HttpClient(url, CONNECTIONS, COUNTING_TIMEOUT_MS);
    this.#clients.set(url, client);
    return client;
  }
}

/** One request after the other, each with as many ids as it may have. */
async function inParts<T>(ids: readonly string[], request: (part: readonly string[]) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let start = 0; start < ids.length; start += MAX_IDS)
    results.push(await request(ids.slice(start, start + MAX_IDS)));
  return results;
}
