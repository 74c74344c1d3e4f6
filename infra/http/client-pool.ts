// The process's own requests to another server. undici is loaded with the first one: most processes never send any, and
// loading it takes a sixth of a start.
import type { Dispatcher, Pool } from 'undici';

/** Connections to one server, which are opened when they are needed. */
export class ClientPool {
  readonly #origin: string;
  readonly #options: Pool.Options;
  #opened: Promise<Pool> | undefined;
  #isClosed = false;

  /** `origin`: such as http://127.0.0.1:3000 */
  constructor(origin: string, options: Pool.Options) {
    this.#origin = origin;
    this.#options = options;
  }

  async request(options: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
    if (this.#isClosed) throw new Error('the connections are closed');
    this.#opened ??= import('undici').then((undici) => new undici.Pool(this.#origin, this.#options));
    return (await this.#opened).request(options);
  }

  /** Aborts the requests that are under way; further ones reject. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await (await this.#opened)?.destroy();
  }
}
