// A payment provider to develop and test against: an HTTP server with a ledger of its own. It can be told to decline,
// to be slow, to be away and to respond late. It moves no money and authenticates no client.
import { once, setMaxListeners } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Request, RequestHandler, Router } from 'express';
import type { Logger } from 'pino';
import { z } from 'zod';
import { pageOf, pageQuery } from '../../contracts/pages.ts';
import { type CancelResponse, type ChargeResponse, chargeRequest } from '../../contracts/payments.ts';
import { createApp, jsonBody, parse, parseId } from '../../infra/http/app.ts';
import { notFound, Problem, unavailable } from '../../infra/http/problem.ts';
import { PortInUse } from '../../infra/http/server.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { KeyReused, Ledger } from './ledger.ts';

/** Charges and cancellations under way; further ones get a 503. */
const MAX_UNDER_WAY = 10_000;

const milliseconds = z.int().min(0).max(600_000).default(0);

/**
 * The misbehaviour that the provider can be told to show. Its ledger stays right: a key is charged at most once, and
 * never after its cancellation. Applies to charges and cancellations, not to reading the ledger. Default: off.
 */
export const behaviour = z.strictObject({
  /** Declines each n-th charge that is decided: 1 declines all, 0 none. */
  declineEvery: z.int().min(0).max(1_000_000).default(0),
  /** The probability, 0 to 1, that a charge is declined. */
  declineShare: z.number().min(0).max(1).default(0),
  /** Waits before working on a request, and drops it if its client has hung up by then. */
  delayMs: milliseconds,
  /** Decides a charge after this time, even if its client has hung up. */
  decideLateMs: milliseconds,
  /** Acts at once, and responds after this time. */
  respondLateMs: milliseconds,
  /** Hangs up on every request. */
  away: z.boolean().default(false),
});
export type Behaviour = z.infer<typeof behaviour>;

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
    this.#server = createServer(createApp(options.log, (router) => this.#routes(router)));
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

  #routes(router: Router): void {
    router.put(
      '/charges/:orderId',
      jsonBody,
      this.#misbehaving((request) => this.#charge(request)),
    );
    router.delete(
      '/charges/:orderId',
      this.#misbehaving(async (request) => {
        await this.#ledger.cancel(parseId(request.params.orderId, 'charge'));
        return { outcome: 'cancelled' };
      }),
    );
    router.get('/charges/:orderId', (request, response) => {
      const entry = this.#ledger.read(parseId(request.params.orderId, 'charge'));
      if (!entry) throw notFound('charge');
      response.json(entry);
    });
    router.get('/charges', (request, response) => {
      const { limit, after } = parse(pageQuery, request.query);
      response.json(pageOf(this.#ledger.page(limit + 1, after), limit, 'orderId'));
    });
    router.put('/behaviour', jsonBody, (request, response) => {
      this.#behaviour = parse(behaviour, request.body);
      this.#log.info(this.#behaviour, 'behaves as told');
      response.json(this.#behaviour);
    });
    router.get('/behaviour', (_request, response) => {
      response.json(this.#behaviour);
    });
    router.get('/healthz', (_request, response) => {
      response.json({ status: 'up', underWay: this.#underWay });
    });
  }

  /** Does the work and responds with its outcome, as badly as `behaviour` says. */
  #misbehaving(work: (request: Request) => Promise<ChargeResponse | CancelResponse>): RequestHandler {
    return async (request, response) => {
      const { away, delayMs, respondLateMs } = this.#behaviour;
      if (away) {
        request.socket.destroy();
        return;
      }
      if (this.#underWay >= MAX_UNDER_WAY) throw unavailable('Too many requests are under way.');
      this.#underWay++;
      try {
        await this.#pause(delayMs);
        if (request.socket.destroyed) return;
        const result = await work(request);
        this.#log.debug({ orderId: request.params.orderId, ...result }, result.outcome);
        await this.#pause(respondLateMs);
        response.json(result);
      } catch (error) {
        if (!this.#stop.signal.aborted) throw error;
      } finally {
        this.#underWay--;
      }
    };
  }

  async #charge(request: Request): Promise<ChargeResponse> {
    const orderId = parseId(request.params.orderId, 'charge');
    const { amount, currency } = parse(chargeRequest, request.body);
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
