// Reads the services' facts over HTTP, checked against the contract. Every request is safe to repeat, and is repeated
// after a 503.
import { setTimeout as sleep } from 'node:timers/promises';
import type { RequestOf, RouteKey } from '../../../contracts/client.ts';
import {
  type Fact,
  type FactList,
  MAX_IDS,
  type MessagesAbout,
  type MessagesSummary,
  serviceOfList,
} from '../../../contracts/facts.ts';
import type { Page } from '../../../contracts/pages.ts';
import type { ServiceName } from '../../../contracts/services.ts';
import { CliError } from '../errors.ts';
import { bodyOf, COUNTING_TIMEOUT_MS, HttpClient, type HttpResponse, problemOf } from '../http.ts';

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
    return (after: string | undefined) => this.#facts(list, { limit: PAGE, after });
  }

  /** The facts of any number of ids. Ids without a fact are left out. */
  async facts<L extends FactList>(list: L, ids: readonly string[]): Promise<Map<string, Fact<L>>> {
    const pages = await inParts(ids, (part) => this.#facts(list, { ids: [...part] }));
    return new Map(pages.flatMap(({ items }) => items.map((fact) => [fact.id, fact] as const)));
  }

  async messages(service: ServiceName): Promise<MessagesSummary> {
    const body = await this.#read(service, `GET /audit/${service}/messages`, {});
    if ('items' in body) throw new CliError(`${service}: unexpected response: is this a Sluice server?`);
    return body;
  }

  /** The messages about these orders or tickets at this service, with where each is. */
  async messagesAbout(service: ServiceName, ids: readonly string[]): Promise<MessagesAbout['items']> {
    const pages = await inParts(ids, (part) =>
      this.#read(service, `GET /audit/${service}/messages`, { query: { ids: [...part] } }),
    );
    return pages.flatMap((page) => ('items' in page ? page.items : []));
  }

  /** Makes a service resend its pending requests at once; resolves with the number of orders or tickets. */
  async resend(service: 'order' | 'flash-sale', ids: readonly string[]): Promise<number> {
    const counts = await inParts(ids, async (part) => {
      const request = { body: { ids: [...part] } };
      const send = (http: HttpClient) => http.call(`POST /audit/${service}/resend`, request, { signal: this.#signal });
      return bodyOf(await this.#repeat(service, send), 202, this.#about(service));
    });
    return counts.reduce((sum, { resent }) => sum + resent, 0);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
  }

  #facts<L extends FactList>(
    list: L,
    query: NonNullable<RequestOf<'GET /audit/order'>['query']>,
  ): Promise<Page<Fact<L>>> {
    return this.#read(serviceOfList(list), `GET /audit/${list}` as `GET /audit/${FactList}`, { query }) as Promise<
      Page<Fact<L>>
    >;
  }

  async #read<Key extends RouteKey>(service: ServiceName, key: Key, request: RequestOf<Key>) {
    const send = (http: HttpClient) => http.call(key, request, { signal: this.#signal });
    return bodyOf(await this.#repeat(service, send), 200, this.#about(service));
  }

  #about(service: ServiceName): string {
    return `${service} at ${this.#urlOf(service)}`;
  }

  /** Sends a request, and again after a 503. */
  async #repeat<Key extends RouteKey>(
    service: ServiceName,
    send: (http: HttpClient) => Promise<HttpResponse<Key>>,
  ): Promise<HttpResponse<Key>> {
    for (let attempt = 1; ; attempt++) {
      const response = await send(this.#client(service));
      if (response.status === 404) {
        const { title } = problemOf(response);
        const hint = `does the ${service} service run there? (--at ${service}=<url>)`;
        throw new CliError(`${this.#about(service)}: 404 ${title}: ${hint}`);
      }
      if (response.status !== 503 || attempt === TRIES) return response;
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
