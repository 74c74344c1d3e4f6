// Checks a response against its schema in contracts/responses.ts.
import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { problem } from '../../contracts/problems.ts';
import { responseSchema } from '../../contracts/responses.ts';
import { behaviour } from '../../simulators/payment-provider/simulated-provider.ts';
import { ResponseMismatch } from './wait.ts';

export interface ReceivedResponse {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly contentType: string | undefined;
  readonly text: string;
}

/** Pages, scripts, redirects and metrics. Every other response must be JSON with a schema. */
const withoutSchema = /^text\/(html|css|javascript|plain)\b/;

/** /behaviour is the simulated payment provider's own route, outside the contracts. */
const schemaOf = (method: string, pathname: string, status: number) =>
  pathname === '/behaviour' && status === 200 ? behaviour : responseSchema(method, pathname, status);

/** Throws if the response has no schema or does not match it exactly. Returns the body, or undefined for a page. */
export function parseResponse({ method, url, status, contentType = '', text }: ReceivedResponse): unknown {
  if (withoutSchema.test(contentType)) return undefined;
  const { pathname: whole, search } = new URL(url);
  const pathname = whole.replace(/^\/(?:shop|market)(?=\/)/, ''); // the paths of the tests with reverse proxies
  const about = `${method} ${pathname}${search}: ${status} ${contentType}`;
  const schema = schemaOf(method, pathname, status);
  if (!schema) throw new ResponseMismatch(`${about} has no schema in contracts/responses.ts: ${text}`);
  const expectedType = schema === problem ? 'application/problem+json' : 'application/json';
  if (!contentType.startsWith(expectedType)) throw new ResponseMismatch(`${about} is not ${expectedType}: ${text}`);
  return parseExactly(schema, JSON.parse(text), about);
}

/**
 * Throws if the body does not match the schema exactly: a missing, wrong or undeclared field is an error. (Clients
 * ignore undeclared fields, so that a newer server may add some.) `about`: the subject of the error message.
 */
export function parseExactly<T>(schema: z.ZodType<T>, body: unknown, about: string): T {
  const { data, error } = schema.safeParse(body);
  if (error)
    throw new ResponseMismatch(`${about} does not match its schema: ${error.message}\n${JSON.stringify(body)}`);
  if (!isDeepStrictEqual(data, body))
    throw new ResponseMismatch(
      `${about} has fields that its schema does not declare:\n${JSON.stringify(body)}\n${JSON.stringify(data)}`,
    );
  return data;
}
