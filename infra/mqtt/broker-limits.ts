// Finds out in the background what the connected broker cannot do, so that it is said at the start and in /readyz. Some
// brokers would otherwise confirm messages and drop them, and others would end the connection again and again.
import type { Logger } from 'pino';
import { reasonOf } from '../runtime/reason.ts';
import { type BrokerUse, brokerFaults } from './broker-check.ts';
import { connectTo } from './connect.ts';
import { parseMqttUrls } from './url.ts';

/** Between two checks of a broker in which a fault was found; it opens a handful of connections. */
const CHECK_EVERY_MS = 60_000;

interface BrokerLimitsOptions {
  readonly url: string;
  readonly prefix: string;
  readonly use: BrokerUse;
  readonly log: Logger;
}

export class BrokerLimits {
  readonly #options: BrokerLimitsOptions;
  readonly #stopping = new AbortController();
  #faults: readonly string[] = [];
  #checking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor(options: BrokerLimitsOptions) {
    this.#options = options;
  }

  /** What the broker cannot do, a sentence each; empty while unknown. */
  get faults(): readonly string[] {
    return this.#faults;
  }

  /** Checks the broker, unless that was done less than a minute ago. Call it when a connection has been made. */
  check(): void {
    if (this.#checking || this.#stopping.signal.aborted) return;
    if (performance.now() - this.#checkedAt < CHECK_EVERY_MS) return;
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
    this.#timer = setTimeout(() => this.check(), CHECK_EVERY_MS + 1);
  }
}
