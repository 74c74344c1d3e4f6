// The process's own requests to another server. Only a process that sends some loads undici, which takes a sixth of a
// start.
import type { Dispatcher, Pool } from 'undici';

/** Connections to one server, which are opened when they are needed. */
export class ClientPool {
  readonly #opened: Promise<Pool>;

  /** `origin`: such as http://127.0.0.1:3000 */
  constructor(origin: string, options: Pool.Options) {
    // Not with the first request: Node.js remembers a failure, such as for want of file descriptors, for good.
    this.#opened = import('undici').then((undici) => new undici.Pool(origin, options));
    this.#opened.catch(() => {}); // each request rejects with it
  }

  async request(options: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
    return (await this.#opened).request(options);
  }

  /** Aborts the requests that are under way; further ones reject. */
  async close(): Promise<void> {
    await this.#opened.then(
      (pool) => pool.destroy(),
      () => {},
    );
  }
}
