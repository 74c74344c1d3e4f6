// Reads the parts of services that run in other processes, at SERVICES_URL. Each process is asked for a part, and the
// first response counts: replicas of a service share its database, so their parts are equal.
import { type HistoryPart, historyPart } from '../../contracts/history.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { ClientPool } from '../../infra/http/client-pool.ts';
import { parseHttpUrl } from '../../infra/http/url.ts';
import { reasonOf } from '../../infra/runtime/reason.ts';
import type { HistoryQuery } from './service-history.ts';

/** To each process. */
const CONNECTIONS = 8;
/** A part has 1,000 items with up to 1,000 characters of detail each, which JSON may write as six bytes. */
const MAX_RESPONSE_BYTES = 8 * 1024 * 1024;

/** The process does not run the service. */
class NotThere extends Error {}

export class RemoteHistory {
  readonly #processes: readonly { readonly origin: string; readonly base: string; readonly pool: ClientPool }[];

  readonly #authorization: () => Promise<string | undefined>;

  /** `authorization`: the header of each request. */
  constructor(urls: readonly string[], authorization: () => Promise<string | undefined> = async () => undefined) {
    this.#authorization = authorization;
    this.#processes = urls.map((url) => {
      const { origin, base } = parseHttpUrl(url);
      return {
        origin,
        base,
        pool: new ClientPool(origin, { connections: CONNECTIONS, maxResponseSize: MAX_RESPONSE_BYTES }),
      };
    });
  }

  /** Rejects with an error that says why no process has responded with the part within `timeoutMs`. */
  async read(service: ServiceName, query: HistoryQuery, timeoutMs: number): Promise<HistoryPart> {
    if (this.#processes.length === 0)
      throw new Error('it does not run in this process, and SERVICES_URL does not say where it does');
    const done = new AbortController();
    const signal = AbortSignal.any([done.signal, AbortSignal.timeout(timeoutMs)]);
    try {
      return await Promise.any(
        this.#processes.map((process) =>
          this.#request(process, pathOf(service, query), signal).catch((error) => {
            if (error instanceof NotThere) throw error;
            const reason = signal.aborted ? `no response within ${timeoutMs} ms` : reasonOf(error);
            throw new Error(`${process.origin}: ${reason}`, { cause: error });
          }),
        ),
      );
    } catch (error) {
      const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
      const reasons = errors.filter((each) => !(each instanceof NotThere)).map(reasonOf);
      throw new Error(reasons.length > 0 ? reasons.join('; ') : 'no process at SERVICES_URL runs it', { cause: error });
    } finally {
      done.abort(); // the other processes need not respond any more
    }
  }

  async #request(
    { base, pool }: { readonly base: string; readonly pool: ClientPool },
    path: string,
    signal: AbortSignal,
  ): Promise<HistoryPart> {
    const authorization = await this.#authorization();
    const headers = authorization === undefined ? {} : { authorization };
    const response = await pool.request({ method: 'GET', path: base + path, headers, signal });
    const text = await response.body.text();
    if (response.statusCode === 404) throw new NotThere();
    if (response.statusCode === 401 || response.statusCode === 403)
      throw new Error(`status ${response.statusCode}: it does not accept the token of this process`);
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
    const { data, error } = historyPart.safeParse(JSON.parse(text));
    if (error) throw new Error('unexpected response: is this a Sluice server?', { cause: error });
    return data;
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map(({ pool }) => pool.close()));
  }
}

function pathOf(service: ServiceName, { orderId, ticketId, eventIds }: HistoryQuery): string {
  const search = new URLSearchParams({
    ...(ticketId !== undefined && { ticketId }),
    ...(eventIds.length > 0 && { eventIds: eventIds.join(',') }),
  });
  return `/audit/${service}/history/${orderId}?${search}`;
}
