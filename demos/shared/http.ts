// A small HTTP client for the commands: JSON in, JSON out, every answer with the time it took. It does not retry; who
// calls it knows whether asking again is safe.
import { Pool } from 'undici';
import { CliError, messageOf } from './errors.ts';
import { printable } from './terminal.ts';

/** How long a connection may take, and then each silence of the server. */
const CONNECT_TIMEOUT_MS = 5_000;
const SILENCE_TIMEOUT_MS = 10_000;
/** For what a server may have to count through its tables. */
export const COUNTING_TIMEOUT_MS = 600_000;
/** The largest order is far below; anything larger is not Sluice. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The parsed JSON, or undefined where the body is none. */
  readonly body: unknown;
  /** From sending the request to the end of the answer. */
  readonly ms: number;
}

/** There was no answer. */
export class NoAnswer extends CliError {
  /** Whether the request may have reached the server, so that nobody knows whether it did what was asked. */
  readonly sent: boolean;
  constructor(message: string, sent: boolean, cause: unknown) {
    super(message, { cause });
    this.sent = sent;
  }
}

/** Errors before a connection: what was asked for was not even sent. */
const notSent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

export interface HttpRequest {
  readonly signal: AbortSignal;
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export class HttpClient {
  readonly #pool: Pool;
  readonly #url: URL;
  readonly #silenceMs: number;

  /**
   * At most `connections` requests are under way at a time; further ones wait. `silenceMs`: how long the server may say
   * nothing.
   */
  constructor(url: string, connections = 1, silenceMs = SILENCE_TIMEOUT_MS) {
    this.#url = new URL(url);
    this.#silenceMs = silenceMs;
    this.#pool = new Pool(this.#url.origin, {
      connections,
      connectTimeout: CONNECT_TIMEOUT_MS,
      headersTimeout: silenceMs,
      bodyTimeout: silenceMs,
      maxResponseSize: MAX_ANSWER_BYTES,
    });
  }

  /** Rejects with NoAnswer, or with the signal's AbortError. `path` starts with a slash. */
  async request(method: 'GET' | 'POST', path: string, { signal, json, headers }: HttpRequest): Promise<HttpAnswer> {
    const startedAt = performance.now();
    try {
      const answer = await this.#pool.request({
        method,
        path: this.#url.pathname.replace(/\/$/, '') + path,
        headers: { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        body: json === undefined ? null : JSON.stringify(json),
        signal,
      });
      const text = await answer.body.text();
      return {
        status: answer.statusCode,
        headers: flatten(answer.headers),
        body: parseJson(text),
        ms: performance.now() - startedAt,
      };
    } catch (error) {
      signal.throwIfAborted();
      const code = codeOf(error);
      throw new NoAnswer(this.#explain(code, error), code === undefined || !notSent.has(code), error);
    }
  }

  /** Ends every connection; requests under way fail. */
  close(): Promise<void> {
    return this.#pool.destroy();
  }

  #explain(code: string | undefined, error: unknown): string {
    const { origin } = this.#url;
    if (code === 'ECONNREFUSED') return `cannot reach ${origin}: is \`npm start\` running?`;
    if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
      return `no answer from ${origin} within ${this.#silenceMs} ms`;
    const reason = messageOf(error) || code;
    return code !== undefined && notSent.has(code)
      ? `cannot reach ${origin}: ${reason}`
      : `no answer from ${origin}: ${reason}`;
  }
}

/** The error's code; of a host with several addresses, the first one's. */
function codeOf(error: unknown): string | undefined {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error && 'code' in first && typeof first.code === 'string' ? first.code : undefined;
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value ?? ''].flat().join(', ')]));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // an answer without JSON is told by its status
  }
}

/** What an answer with an error status says, in a few words: the problem's title, and apart from it the particulars. */
export function problemOf({ status, body }: HttpAnswer): { title: string; detail: string } {
  const problem = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const title = typeof problem.title === 'string' ? problem.title : `HTTP ${status}`;
  const fields = Array.isArray(problem.errors) ? problem.errors.map(fieldOf).filter((field) => field !== '') : [];
  const detail = typeof problem.detail === 'string' ? problem.detail : '';
  return { title: printable(title), detail: printable([detail, ...fields].filter((part) => part !== '').join('; ')) };
}

function fieldOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  const { path, message } = error as Record<string, unknown>;
  return typeof message === 'string' ? `${String(path)} ${message}` : '';
}
