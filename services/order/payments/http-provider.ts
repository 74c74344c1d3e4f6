// The payment provider over HTTP (contracts/payments.ts). Every call may be repeated, so anything but a clear response
// is PaymentUnknown.
import type { z } from 'zod';
import { cancelResponse, type chargeRequest, chargeResponse } from '../../../contracts/payments.ts';
import { ClientPool } from '../../../infra/http/client-pool.ts';
import { parseHttpUrl } from '../../../infra/http/url.ts';
import { reasonOf } from '../../../infra/runtime/reason.ts';
import { type PaymentProvider, PaymentUnknown } from './port.ts';

/** Concurrent calls; further ones wait, and waiting counts towards their timeout. */
const CONNECTIONS = 64;
/** A response has a few dozen bytes. */
const MAX_RESPONSE_BYTES = 16 * 1024;
/**
 * Statuses from 400 to 499 that are no rejection, so the outcome is unknown: request timeout, too early, too many
 * requests.
 */
const UNKNOWN_OUTCOME = [408, 425, 429];

/**
 * Connects with the first call. `url`'s path is every route's prefix; `timeoutMs`: from a call to its response's end.
 */
export function openHttpProvider({ url, timeoutMs }: { url: string; timeoutMs: number }): PaymentProvider {
  const { origin, base } = parseHttpUrl(url);
  const pool = new ClientPool(origin, {
    connections: CONNECTIONS,
    connectTimeout: timeoutMs,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    maxResponseSize: MAX_RESPONSE_BYTES,
  });

  const call = async <S extends z.ZodType>(
    method: 'PUT' | 'DELETE',
    orderId: string,
    { schema, body }: { readonly schema: S; readonly body?: z.infer<typeof chargeRequest> },
  ): Promise<z.output<S>> => {
    const { status, text } = await pool
      .request({
        method,
        path: `${base}/charges/${encodeURIComponent(orderId)}`,
        headers: body ? { 'content-type': 'application/json' } : {},
        body: body ? JSON.stringify(body) : null,
        signal: AbortSignal.timeout(timeoutMs),
      })
      .then(async (response) => ({ status: response.statusCode, text: await response.body.text() }))
      .catch((error) => {
        throw unknown(`${origin} did not respond to ${method} for order ${orderId}: ${reasonOf(error)}`, error);
      });
    if (status >= 400 && status < 500 && !UNKNOWN_OUTCOME.includes(status))
      throw new Error(`the payment provider rejects ${method} for order ${orderId}: ${status} ${text.slice(0, 500)}`);
    try {
      return schema.parse(status === 200 && JSON.parse(text));
    } catch (error) {
      const response = `${status} ${text.slice(0, 200)}`;
      throw unknown(`${origin} responded to ${method} for order ${orderId} with ${response}`, error);
    }
  };

  return {
    charge: async ({ orderId, amount, currency }) =>
      (await call('PUT', orderId, { schema: chargeResponse, body: { amount, currency } })).outcome,
    cancel: async (orderId) => {
      await call('DELETE', orderId, { schema: cancelResponse });
    },
    close: () => pool.close(),
  };
}

const unknown = (message: string, cause: unknown) =>
  new PaymentUnknown(`the payment provider at ${message}`, { cause });
