// Checks a response against its schema in contracts/responses.ts.
import { isDeepStrictEqual } from 'node:util';
import { problem } from '../../contracts/problems.ts';
import { responseSchema } from '../../contracts/responses.ts';

export interface ReceivedResponse {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly contentType: string | undefined;
  readonly text: string;
}

/** Pages, scripts, redirects and metrics. Every other response must be JSON with a schema. */
const withoutSchema = /^text\/(html|css|javascript|plain)\b/;

/**
 * Throws if the response has no schema, or if its body does not match exactly: a missing, wrong or undeclared field is
 * an error. (Clients ignore undeclared fields, so that a newer server may add some.) Returns the parsed body.
 */
export function parseResponse({ method, url, status, contentType = '', text }: ReceivedResponse): unknown {
  if (withoutSchema.test(contentType)) return undefined;
  const { pathname, search } = new URL(url);
  const about = `${method} ${pathname}${search}: ${status} ${contentType}`;
  const schema = responseSchema(method, pathname, status);
  if (!schema) throw new Error(`${about} has no schema in contracts/responses.ts: ${text}`);
  const expectedType = schema === problem ? 'application/problem+json' : 'application/json';
  if (!contentType.startsWith(expectedType)) throw new Error(`${about} is not ${expectedType}: ${text}`);
  const body: unknown = JSON.parse(text);
  const parsed = schema.safeParse(body);
  if (!parsed.success) throw new Error(`${about} does not match its schema: ${parsed.error.message}\n${text}`);
  if (!isDeepStrictEqual(parsed.data, body))
    throw new Error(`${about} has fields that its schema does not declare:\n${text}\n${JSON.stringify(parsed.data)}`);
  return parsed.data;
}
