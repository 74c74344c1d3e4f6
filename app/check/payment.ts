// PAYMENT_URL. A charge or a cancellation would stay in the provider's ledger, so only its response to a request that
// changes nothing is read.
import { randomUUID } from 'node:crypto';
import { request } from 'undici';
import { parseHttpUrl } from '../../infra/http/url.ts';
import type { Config } from '../config.ts';
import type { Findings, Target } from './report.ts';

export function paymentTargets({ PAYMENT_URL: url, PAYMENT_TIMEOUT_MS: timeoutMs }: Config): Target[] {
  if (!url) return [];
  const { origin, base } = parseHttpUrl(url);
  const check = (signal: AbortSignal) => checkProvider(`${origin}${base}`, timeoutMs, signal);
  return [{ variable: 'PAYMENT_URL', server: `${origin}${base}`, check }];
}

async function checkProvider(url: string, timeoutMs: number, signal: AbortSignal): Promise<Findings> {
  const startedAt = performance.now();
  const { statusCode: status, body } = await request(`${url}/charges/${randomUUID()}`, {
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  });
  await body.dump();
  const facts = [`responds in ${Math.round(performance.now() - startedAt)} ms, allowed ${timeoutMs}`];
  if (status >= 500) return { problems: [`it responds with ${status}: charges would be retried until it works`] };
  if (status === 401 || status === 403)
    return { problems: [`it responds with ${status}: it must accept requests without a user and password`] };
  return { facts };
}
