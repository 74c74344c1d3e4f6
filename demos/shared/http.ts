// A small HTTP client: JSON in, JSON out, with the time that each request took. It does not retry, because only the
// caller knows whether resending a request is safe.
import { Pool } from 'undici';
import { type BodyOf, type RequestOf, type RouteKey, requestTo } from '../../contracts/client.ts';
import { problem } from '../../contracts/problems.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import type { Route } from '../../contracts/routes/route.ts';
import { parseHttpUrl } from '../../infra/http/url.ts';
import { isTlsFailure, reasonOf } from '../../infra/runtime/reason.ts';
import { authorizationFor, bearer } from './credentials.ts';
import { CliError, messageOf } from './errors.ts';
import { printable } from './terminal.ts';

/** The time limits for connecting, and for each wait for more data from the server. */
const CONNECT_TIMEOUT_MS = 5_000;
const SILENCE_TIMEOUT_MS = 10_000;
/** The silence allowed for requests that make a server count its tables. */
export const COUNTING_TIMEOUT_MS = 600_000;
/** The largest order is far smaller; a larger response is not from Sluice. */
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

export interface HttpResponse<Key extends RouteKey = RouteKey> {
  readonly key: Key;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The parsed JSON, or undefined if the text is not JSON. */
  readonly body: unknown;
  /** From sending the request to the end of the response. */
  readonly ms: number;
}

/** The server did not respond. */
export class NoResponse extends CliError {
  /** Whether the request may have reached the server, so that its outcome is unknown. */
  readonly sent: boolean;
  constructor(message: string, sent: boolean, cause: unknown) {
    super(message, { cause });
    this.sent = sent;
  }
}

/** Errors before the connection is open: the request was not sent. */
const notSent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** A response before parsing. */
export interface RawResponse {
  /** 0: the server did not respond, and `text` is the reason. */
  readonly status: number;
  readonly retryAfter: unknown;
  /** As Latin-1. */
  readonly text: string;
  /** How long the request waited for a free connection. */
  readonly waitedMs: number;
}

export class HttpClient {
  readonly #pool: Pool;
  readonly #origin: string;
  readonly #silenceMs: number;
  /** The path of the URL, which is prefixed to every request's path. */
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;

  /**
   * At most `connections` requests are under way at a time; further ones wait. `silenceMs`: how long the server may
   * send nothing. `token`: instead of that of the command.
   */
  constructor(url: string, connections = 1, silenceMs = SILENCE_TIMEOUT_MS, token?: string) {
    const { origin, base } = parseHttpUrl(url);
    const authorization = token === undefined ? authorizationFor(origin) : bearer(token);
    this.#origin = origin;
    this.#silenceMs = silenceMs;
    this.#base = base;
    this.#headers = authorization === undefined ? {} : { authorization };
    this.#pool = new Pool(origin, {
      connections,
      connectTimeout: CONNECT_TIMEOUT_MS,
      headersTimeout: silenceMs,
      bodyTimeout: silenceMs,
      maxResponseSize: MAX_RESPONSE_BYTES,
    });
  }

  /** Rejects with NoResponse, or with the signal's AbortError. */
  async call<Key extends RouteKey>(
    key: Key,
    parts: RequestOf<Key>,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<HttpResponse<Key>> {
    const { method, path, headers, body } = requestTo(key, parts);
    const startedAt = performance.now();
    try {
      const response = await this.#pool.request({
        method,
        path: this.#base + path,
        headers: { ...this.#headers, ...headers },
        body: body ?? null,
        ...(signal && { signal }),
      });
      const text = await response.body.text();
      return {
        key,
        status: response.statusCode,
        headers: response.headers,
        text,
        body: parseJson(text),
        ms: performance.now() - startedAt,
      };
    } catch (error) {
      signal?.throwIfAborted();
      throw new NoResponse(this.#explain(error), isSent(error), error);
    }
  }

  /** The body of a 200. Throws a CliError as bodyOf does. */
  async read<Key extends RouteKey>(
    key: Key,
    parts: RequestOf<Key>,
    { signal, about }: { signal?: AbortSignal | undefined; about: string },
  ): Promise<BodyOf<Key, 200>> {
    return bodyOf(await this.call(key, parts, { signal }), 200, about);
  }

  /**
   * For thousands of requests a second: uses no promise and does not parse. Calls `onResponse` exactly once. `token`:
   * instead of that of the command.
   */
  post(path: string, json: string, onResponse: (response: RawResponse) => void, token?: string): void {
    const own = token === undefined ? this.#headers : { authorization: bearer(token) };
    const headers = { ...own, 'content-type': 'application/json', accept: 'application/json' };
    const response = { status: 0, retryAfter: undefined as unknown, text: '', waitedMs: 0 };
    const calledAt = performance.now();
    this.#pool.dispatch(
      { method: 'POST', path: this.#base + path, headers, body: json },
      {
        onRequestStart: () => {
          response.waitedMs = performance.now() - calledAt;
        },
        onResponseStart: (_controller, status, received) => {
          response.status = status;
          response.retryAfter = received['retry-after'];
        },
        onResponseData: (_controller, chunk) => {
          response.text += chunk.toString('latin1');
        },
        onResponseEnd: () => onResponse(response),
        onResponseError: (_controller, error) =>
          onResponse({ ...response, status: 0, retryAfter: undefined, text: messageOf(error) || error.name }),
      },
    );
  }

  /** Closes every connection; requests under way fail. */
  close(): Promise<void> {
    return this.#pool.destroy();
  }

  #explain(error: unknown): string {
    const origin = this.#origin;
    const code = codeOf(error);
    if (code === 'ECONNREFUSED') return `cannot reach ${origin}: is \`npm start\` running?`;
    if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
      return `no response from ${origin} within ${this.#silenceMs} ms`;
    return `${isSent(error) ? 'no response from' : 'cannot reach'} ${origin}: ${reasonOf(error)}`;
  }
}

/** Whether the request may have reached the server. */
const isSent = (error: unknown): boolean => !notSent.has(codeOf(error) ?? '') && !isTlsFailure(error);

/** The error's code. For a host with several addresses, the code for the first address. */
function codeOf(error: unknown): string | undefined {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error && 'code' in first && typeof first.code === 'string' ? first.code : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller looks at the status
  }
}

/**
 * An error response in a few words: the problem's title, and its particulars. Any other server's errors are accepted.
 */
export function problemOf({ status, body }: HttpResponse): { title: string; detail: string } {
  const { title = `HTTP ${status}`, detail, errors = [] } = problem.partial().safeParse(body).data ?? {};
  const hint = status === 401 ? 'set SLUICE_TOKEN, or --token: `sluice token --help` says how to get one' : '';
  const particulars = [detail?.replace(/[.]$/, ''), ...errors.map(({ path, message }) => `${path} ${message}`), hint];
  return { title: printable(title), detail: printable(particulars.filter(Boolean).join('; ')) };
}

/**
 * The parsed body. Throws a CliError if the response has another status or another shape. `about`: the subject of the
 * error message, such as `order 0199c2b0-…`.
 */
export function bodyOf<Key extends RouteKey, Status extends number>(
  response: HttpResponse<Key>,
  status: Status,
  about: string,
): BodyOf<Key, Status> {
  if (response.status !== status) {
    const { title, detail } = problemOf(response);
    throw new CliError(`${about}: ${response.status} ${title}${detail ? `: ${detail}` : ''}`);
  }
  const schema = schemas.get(response.key)?.[status]?.json;
  const parsed = schema?.safeParse(response.body);
  if (parsed?.success) return parsed.data as BodyOf<Key, Status>;
  const { path, message } = parsed?.error.issues[0] ?? { path: [], message: '' };
  throw new CliError(
    `${about}: unexpected response (${path.join('.') || 'body'}: ${message}): is this a Sluice server?`,
  );
}

/** The declared responses by method and path. */
const schemas = new Map<string, Route['responses']>(
  Object.values(routesOf()).map(({ method, path, responses }) => [`${method.toUpperCase()} ${path}`, responses]),
);
