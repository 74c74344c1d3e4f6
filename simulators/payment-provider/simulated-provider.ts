// A payment provider to develop and test against: an HTTP server with a ledger of its own. It can be told to decline,
// to be slow, to be away and to respond late. It moves no money and authenticates no client.
import { once, setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { pageOf } from '../../contracts/pages.ts';
import type { ChargeRequest, ChargeResponse } from '../../contracts/payments.ts';
import { paymentProviderRoutes } from '../../contracts/routes/payment-provider.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { createApp } from '../../infra/http/app.ts';
import { notFound, Problem, unavailable } from '../../infra/http/problem.ts';
import { PortInUse } from '../../infra/http/server.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { type Behaviour, behaviour, behaviourRoutes } from './behaviour.ts';
import { KeyReused, Ledger } from './ledger.ts';

const routes = { ...paymentProviderRoutes, ...behaviourRoutes };

/** Charges and cancellations under way; further ones get a 503. */
const MAX_UNDER_WAY = 10_000;

/** Returns a function that decides the next charge by the current behaviour: true approves it. */
export function approvals(current: () => Behaviour, random = Math.random): () => boolean {
  let decided = 0;
  return () => {
    const { declineEvery, declineShare } = current();
    decided++;
    const isNth = declineEvery > 0 && decided % declineEvery === 0;
    return !isNth && random() >= declineShare;
  };
}

export interface SimulatedProviderOptions {
  /** Holds the ledger, in `payments/`. One process at a time. */
  readonly dataDir: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Default: well-behaved. */
  readonly behaviour?: z.input<typeof behaviour>;
  readonly log: Logger;
}

export class SimulatedProvider {
  readonly #ledger: Ledger;
  readonly #log: Logger;
  readonly #server: Server;
  readonly #stop = new AbortController();
  #behaviour: Behaviour;
  readonly #approves = approvals(() => this.#behaviour);
  #underWay = 0;
  #stopped: Promise<void> | undefined;

  private constructor(ledger: Ledger, options: SimulatedProviderOptions) {
    this.#ledger = ledger;
    this.#log = options.log;
    this.#behaviour = behaviour.parse(options.behaviour ?? {});
    this.#server = createServer(createApp(options.log, (api) => this.#routes(api)));
    // Each request under way listens once at a time.
    setMaxListeners(MAX_UNDER_WAY, this.#stop.signal);
  }

  /** Rejects with a StartupError if the port or the ledger is not available. */
  static async start(options: SimulatedProviderOptions): Promise<SimulatedProvider> {
    const { dataDir, host = '127.0.0.1', port } = options;
    const ledger = await Ledger.open(join(dataDir, 'payments'));
    const provider = new SimulatedProvider(ledger, options);
    try {
      await once(provider.#server.listen(port, host), 'listening');
      provider.#server.on('error', (error) => options.log.warn({ err: error }, 'payment provider'));
      return provider;
    } catch (error) {
      await ledger.close();
      const { code, message } = error as NodeJS.ErrnoException;
      throw code === 'EADDRINUSE'
        ? new PortInUse('--port', host, port, error)
        : new StartupError(`the payment provider cannot listen on ${host}, port ${port}: ${message}`, { cause: error });
    }
  }

  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Hangs up on waiting clients; every outcome that was sent is in the journal. Safe to call twice. */
  stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  async #end(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    this.#stop.abort();
    await closed;
    await this.#ledger.close();
  }

  #routes(api: Api): void {
    api.handle(
      routes.charge,
      this.#misbehaving(({ params, body }) => this.#charge(params.orderId, body)),
    );
    api.handle(
      routes.cancelCharge,
      this.#misbehaving(async ({ params }) => {
        await this.#ledger.cancel(params.orderId);
        return { outcome: 'cancelled' };
      }),
    );
    api.handle(routes.readCharge, async ({ params }) => {
      const entry = this.#ledger.read(params.orderId);
      if (!entry) throw notFound('charge');
      return reply(200, entry);
    });
    api.handle(routes.listCharges, async ({ query: { limit, after } }) =>
      reply(200, pageOf(this.#ledger.page(limit + 1, after), limit, 'orderId')),
    );
    api.handle(routes.setBehaviour, async ({ body }) => {
      this.#behaviour = body;
      this.#log.info(this.#behaviour, 'behaves as told');
      return reply(200, body);
    });
    api.handle(routes.readBehaviour, async () => reply(200, this.#behaviour));
    api.handle(routes.readProviderHealth, async () => reply(200, { status: 'up', underWay: this.#underWay }));
  }

  /** Does the work and responds with its outcome, as badly as `behaviour` says. */
  #misbehaving<I extends { readonly params: { readonly orderId: string } }, R extends { readonly outcome: string }>(
    work: (input: I) => Promise<R>,
  ) {
    return async (input: I, { socket }: IncomingMessage) => {
      const { away, delayMs, respondLateMs } = this.#behaviour;
      if (away) {
        socket.destroy();
        return undefined;
      }
      if (this.#underWay >= MAX_UNDER_WAY) throw unavailable('Too many requests are under way.');
      this.#underWay++;
      try {
        await this.#pause(delayMs);
        if (socket.destroyed) return undefined;
        const result = await work(input);
        this.#log.debug({ orderId: input.params.orderId }, result.outcome);
        await this.#pause(respondLateMs);
        return reply(200, result);
      } catch (error) {
        if (!this.#stop.signal.aborted) throw error;
        return undefined;
      } finally {
        this.#underWay--;
      }
    };
  }

  async #charge(orderId: string, { amount, currency }: ChargeRequest): Promise<ChargeResponse> {
    const { decideLateMs } = this.#behaviour;
    const decide = async () => {
      await this.#pause(decideLateMs);
      return this.#approves();
    };
    try {
      return { outcome: await this.#ledger.charge({ orderId, amount, currency }, decide) };
    } catch (error) {
      if (!(error instanceof KeyReused)) throw error;
      throw new Problem(422, 'idempotency-key-reused', {
        title: 'This order was charged with another amount',
        detail: `Order ${orderId} was ${error.message}, not with ${amount} ${currency}.`,
      });
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms > 0) await delay(ms, undefined, { signal: this.#stop.signal });
  }
}
