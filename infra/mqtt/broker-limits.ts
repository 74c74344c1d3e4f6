// Finds out in the background what the connected broker cannot do, so that it is said at the start and in /readyz. Some
// brokers would otherwise confirm messages and drop them, and others would end the connection again and again.
import type { Logger } from 'pino';
import { reasonOf } from '../runtime/reason.ts';
import { type BrokerUse, brokerFaults } from './broker-check.ts';
import { connectTo } from './connect.ts';
import { parseMqttUrls } from './url.ts';

interface BrokerLimitsOptions {
  readonly url: string;
  readonly prefix: string;
  readonly use: BrokerUse;
  readonly log: Logger;
  /** Between two checks of a broker in which a fault was found; a check opens a handful of connections. */
  readonly checkEveryMs?: number;
}

export class BrokerLimits {
  readonly #options: Required<BrokerLimitsOptions>;
  readonly #stopping = new AbortController();
  #faults: readonly string[] = [];
  #checking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor(options: BrokerLimitsOptions) {
    this.#options = { checkEveryMs: 60_000, ...options };
  }

  /** What the broker cannot do, a sentence each; empty while unknown. */
  get faults(): readonly string[] {
    return this.#faults;
  }

  /** Checks the broker, unless that was done less than `checkEveryMs` ago. Call it when a connection has been made. */
  check(): void {
    if (this.#checking || this.#stopping.signal.aborted) return;
    if (performance.now() - this.#checkedAt < this.#options.checkEveryMs) return;
    this.#checkedAt = performance.now();
    this.#checking = this.#checkNow().finally(() => {
      this.#checking = undefined;
      if (this.#faults.length > 0) this.#checkLater();
    });
  }

  /** Resolves when nothing of a check is left. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('this process is stopping'));
    clearTimeout(this.#timer);
    await this.#checking;
  }

  async #checkNow(): Promise<void> {
    const { url, prefix, use, log } = this.#options;
    const { signal } = this.#stopping;
    const hosts = parseMqttUrls(url).length;
    try {
      const faults = await brokerFaults({ connect: connectTo(url), hosts, signal, prefix, uses: [use], depth: 1 });
      for (const reason of faults)
        if (!this.#faults.includes(reason)) log.warn({ reason }, 'degraded: the MQTT broker has a limit');
      if (faults.length === 0 && this.#faults.length > 0) log.info('the MQTT broker has no limits any more');
      this.#faults = faults;
    } catch (error) {
      log.debug({ reason: reasonOf(error) }, 'not known what the MQTT broker cannot do');
    }
  }

  /** A broker may be reconfigured without ending a connection. */
  #checkLater(): void {
    if (this.#stopping.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), this.#options.checkEveryMs + 1);
  }
}
