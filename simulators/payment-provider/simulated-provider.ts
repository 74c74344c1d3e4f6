// A payment provider to try and test against: an HTTP server with a ledger of its own, which can be told to decline, to be
// slow, to be away and to answer late (behaviour.ts). It takes no money and asks nobody who they are.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Request, RequestHandler, Router } from 'express';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { pageOf, pageQuery } from '../../contracts/pages.ts';
import { type CancelAnswer, type ChargeAnswer, chargeRequest } from '../../contracts/payments.ts';
import { createApp, jsonBody } from '../../infra/http/app.ts';
import { notFound, Problem, unavailable } from '../../infra/http/problem.ts';
import { PortInUse } from '../../infra/http/server.ts';
import { parse, parseId } from '../../infra/http/validate.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { approvals, type Behaviour, behaviour } from './behaviour.ts';
import { KeyReused, Ledger } from './ledger.ts';

/** Requests that wait to be decided or answered; further ones are answered 503. */
const MAX_UNDER_WAY = 10_000;

export interface SimulatedProviderOptions {
  /** Where its ledger is, in `payments/`. One process at a time. */
  readonly dataDir: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Default: all is well. */
  readonly behaviour?: z.input<typeof behaviour>;
  readonly log: Logger;
}

export interface SimulatedProvider {
  readonly url: string;
  /** Hangs up on whoever waits; what was answered is in the journal. Safe to call twice. */
  close(): Promise<void>;
}

/** Rejects with a StartupError where the port or the ledger cannot be had. */
export async function startSimulatedProvider(options: SimulatedProviderOptions): Promise<SimulatedProvider> {
  const { dataDir, host = '127.0.0.1', port, log } = options;
  const ledger = await Ledger.open(join(dataDir, 'payments'));
  const ending = new AbortController();
  const server = createServer(
    createApp(log, (router) => routes(router, ledger, behaviour.parse(options.behaviour ?? {}), ending.signal, log)),
  );
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    await ledger.close();
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === 'EADDRINUSE'
      ? new PortInUse('--port', host, port, error)
      : new StartupError(`the payment provider cannot listen on ${host}, port ${port}: ${message}`, { cause: error });
  }
  const { address, family, port: bound } = server.address() as AddressInfo;
  const end = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    ending.abort();
    await closed;
    await ledger.close();
  };
  let ended: Promise<void> | undefined;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`,
    close: () => {
      ended ??= end();
      return ended;
    },
  };
}

function routes(router: Router, ledger: Ledger, initial: Behaviour, ending: AbortSignal, log: Logger): void {
  let current = initial;
  let underWay = 0;
  const approves = approvals(() => current);
  const pause = (ms: number) => (ms > 0 ? delay(ms, undefined, { signal: ending }) : Promise.resolve());

  /** Answers what `work` does, behaving as told. */
  const behaving =
    (work: (request: Request) => Promise<ChargeAnswer | CancelAnswer>): RequestHandler =>
    async (request, response) => {
      const { away, delayMs, answerLateMs } = current;
      if (away) {
        request.socket.destroy();
        return;
      }
      if (underWay >= MAX_UNDER_WAY) throw unavailable('Too many requests are under way.');
      underWay++;
      try {
        await pause(delayMs);
        if (request.socket.destroyed) return;
        const answer = await work(request);
        log.debug({ orderId: request.params.orderId, ...answer }, answer.outcome);
        await pause(answerLateMs);
        response.json(answer);
      } catch (error) {
        if (!ending.aborted) throw error;
      } finally {
        underWay--;
      }
    };

  const charge = behaving(async (request) => {
    const orderId = parseId(request.params.orderId, 'charge');
    const { amount, currency } = parse(chargeRequest, request.body);
    const { decideLateMs } = current;
    try {
      const decide = () => pause(decideLateMs).then(approves);
      return { outcome: await ledger.charge({ orderId, amount, currency }, decide) };
    } catch (error) {
      if (!(error instanceof KeyReused)) throw error;
      throw new Problem(422, 'idempotency-key-reused', {
        title: 'This order is charged otherwise',
        detail: `Order ${orderId} was ${error.message}, not with ${amount} ${currency}.`,
      });
    }
  });
  const cancel = behaving(async (request) => {
    await ledger.cancel(parseId(request.params.orderId, 'charge'));
    return { outcome: 'cancelled' };
  });

  router.put('/charges/:orderId', jsonBody, charge);
  router.delete('/charges/:orderId', cancel);
  router.get('/charges/:orderId', (request, response) => {
    const entry = ledger.read(parseId(request.params.orderId, 'charge'));
    if (!entry) throw notFound('charge');
    response.json(entry);
  });
  router.get('/charges', (request, response) => {
    const { limit, after } = parse(pageQuery, request.query);
    response.json(pageOf(ledger.page(limit + 1, after), limit, 'orderId'));
  });
  router.put('/behaviour', jsonBody, (request, response) => {
    current = parse(behaviour, request.body);
    log.info(current, 'behaves as told');
    response.json(current);
  });
  router.get('/behaviour', (_request, response) => {
    response.json(current);
  });
  router.get('/healthz', (_request, response) => {
    response.json({ status: 'up', underWay });
  });
}
