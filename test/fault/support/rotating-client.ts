// The HTTP client of Buyers, Holders and Load in fault tests. A missing response is a result, not an error: they
// continue without it.
import { Agent } from 'undici';
import { type Answer, type Call, tryCall } from '../../setup/api.ts';

const RESPONSE_WITHIN_MS = 5_000;

/** Sends each request to the next URL, on connections that it keeps. */
export class RotatingClient {
  readonly #urls: readonly string[];
  readonly #agent = new Agent({
    connectTimeout: RESPONSE_WITHIN_MS,
    headersTimeout: RESPONSE_WITHIN_MS,
    bodyTimeout: RESPONSE_WITHIN_MS,
  });
  #sent = 0;

  constructor(urls: readonly string[]) {
    this.#urls = urls;
  }

  /** Undefined: there was no response. Rejects if a response does not match its schema. */
  send(path: string, options: Call, url = this.#urls[this.#sent++ % this.#urls.length]): Promise<Answer | undefined> {
    return tryCall(`${url}${path}`, { ...options, dispatcher: this.#agent });
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}
