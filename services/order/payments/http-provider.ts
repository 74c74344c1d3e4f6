// The payment provider over HTTP (api.ts). Every call is repeatable, so whatever is no clear answer is PaymentUnknown.
import { Pool } from 'undici';
import type { z } from 'zod';
import { cancelResponse, type chargeRequest, chargeResponse } from '../../../contracts/payments.ts';
import { type PaymentProvider, PaymentUnknown } from './port.ts';

/** Calls under way at a time; further ones wait, within their own time. */
const CONNECTIONS = 64;
/** An answer has some ten bytes. */
const MAX_ANSWER_BYTES = 16 * 1024;
/** Statuses below 500 that say "later": request timeout, too early, too many requests. */
const LATER = [408, 425, 429];

export interface HttpProviderOptions {
  /** http or https; a path stands before every route. */
  readonly url: string;
  /** From a call to the end of its answer. */
  readonly timeoutMs: number;
}

/** Connects with the first call. */
export function openHttpProvider({ url, timeoutMs }: HttpProviderOptions): PaymentProvider {
  const { origin, pathname } = new URL(url);
  const pool = new Pool(origin, {
    connections: CONNECTIONS,
    connectTimeout: timeoutMs,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    maxResponseSize: MAX_ANSWER_BYTES,
  });

  const call = async <S extends z.ZodType>(
    method: 'PUT' | 'DELETE',
    orderId: string,
    answers: S,
    body?: z.infer<typeof chargeRequest>,
  ): Promise<z.output<S>> => {
    const { status, text } = await pool
      .request({
        method,
        path: `${pathname.replace(/\/$/, '')}/charges/${encodeURIComponent(orderId)}`,
        headers: body ? { 'content-type': 'application/json' } : {},
        body: body ? JSON.stringify(body) : null,
        signal: AbortSignal.timeout(timeoutMs),
      })
      .then(async (answer) => ({ status: answer.statusCode, text: await answer.body.text() }))
      .catch((error) => {
        throw unknown(`${origin} gave no answer to ${method} for order ${orderId}: ${reasonOf(error)}`, error);
      });
    if (status >= 400 && status < 500 && !LATER.includes(status))
      throw new Error(`the payment provider rejects ${method} for order ${orderId}: ${status} ${text.slice(0, 500)}`);
    const parsed = answers.safeParse(status === 200 ? parseJson(text) : undefined);
    if (!parsed.success)
      throw unknown(`${origin} answered ${method} for order ${orderId} with ${status} ${text.slice(0, 200)}`);
    return parsed.data;
  };

  return {
    charge: async ({ orderId, amount, currency }) =>
      (await call('PUT', orderId, chargeResponse, { amount, currency })).outcome,
    cancel: async (orderId) => {
      await call('DELETE', orderId, cancelResponse);
    },
    close: () => pool.destroy(),
  };
}

const unknown = (what: string, cause?: unknown) => new PaymentUnknown(`the payment provider at ${what}`, { cause });

/** Of a host with several addresses, the first one's. */
function reasonOf(error: unknown): string {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error ? first.message : String(first);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
