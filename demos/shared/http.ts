// A small HTTP client: JSON in, JSON out, every answer with the time it took. It does not retry; its caller knows whether
// asking again is safe.
import { type Dispatcher, Pool } from 'undici';
import type { z } from 'zod';
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
  readonly text: string;
  /** The parsed JSON, or undefined where the text is none. */
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
  readonly signal?: AbortSignal | undefined;
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer as it came, not parsed. */
export interface RawAnswer {
  /** 0: there was none, and `text` says why. */
  readonly status: number;
  readonly retryAfter: unknown;
  /** As Latin-1. */
  readonly text: string;
  /** How long the request waited for a free connection. */
  readonly waitedMs: number;
}

export class HttpClient {
  readonly #pool: Pool;
  readonly #url: URL;
  readonly #silenceMs: number;
  /** What stands before every path. */
  readonly #base: string;

  /**
   * At most `connections` requests are under way at a time; further ones wait. `silenceMs`: how long the server may say
   * nothing.
   */
  constructor(url: string, connections = 1, silenceMs = SILENCE_TIMEOUT_MS) {
    this.#url = new URL(url);
    this.#silenceMs = silenceMs;
    this.#base = this.#url.pathname.replace(/\/$/, '');
    this.#pool = new Pool(this.#url.origin, {
      connections,
      connectTimeout: CONNECT_TIMEOUT_MS,
      headersTimeout: silenceMs,
      bodyTimeout: silenceMs,
      maxResponseSize: MAX_ANSWER_BYTES,
    });
  }

  /** Rejects with NoAnswer, or with the signal's AbortError. `path` starts with a slash. */
  async request(method: 'GET' | 'POST', path: string, request: HttpRequest = {}): Promise<HttpAnswer> {
    const { signal, json, headers } = request;
    const startedAt = performance.now();
    try {
      const answer = await this.#pool.request({
        method,
        path: this.#base + path,
        headers: { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        body: json === undefined ? null : JSON.stringify(json),
        ...(signal && { signal }),
      });
      const text = await answer.body.text();
      return {
        status: answer.statusCode,
        headers: flatten(answer.headers),
        text,
        body: parseJson(text),
        ms: performance.now() - startedAt,
      };
    } catch (error) {
      signal?.throwIfAborted();
      const code = codeOf(error);
      throw new NoAnswer(this.#explain(code, error), code === undefined || !notSent.has(code), error);
    }
  }

  /** For thousands of requests a second: neither a promise nor parsing. `onAnswer` is called exactly once. */
  post(path: string, json: string, onAnswer: (answer: RawAnswer) => void): void {
    const headers = ['content-type', 'application/json', 'accept', 'application/json'];
    this.#pool.dispatch(
      { method: 'POST', path: this.#base + path, headers, body: json },
      new RawAnswerReader(onAnswer),
    );
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

class RawAnswerReader implements Dispatcher.DispatchHandler {
  readonly #onAnswer: (answer: RawAnswer) => void;
  readonly #askedAt = performance.now();
  #waitedMs = 0;
  #status = 0;
  #retryAfter: unknown;
  #text = '';

  constructor(onAnswer: (answer: RawAnswer) => void) {
    this.#onAnswer = onAnswer;
  }

  onRequestStart(): void {
    this.#waitedMs = performance.now() - this.#askedAt;
  }

  onResponseStart(_controller: unknown, status: number, headers: Record<string, string | string[] | undefined>): void {
    this.#status = status;
    this.#retryAfter = headers['retry-after'];
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#text += chunk.toString('latin1');
  }

  onResponseEnd(): void {
    const [status, retryAfter, text, waitedMs] = [this.#status, this.#retryAfter, this.#text, this.#waitedMs];
    this.#onAnswer({ status, retryAfter, text, waitedMs });
  }

  onResponseError(_controller: unknown, error: Error): void {
    const text = messageOf(error) || error.name;
    this.#onAnswer({ status: 0, retryAfter: undefined, text, waitedMs: this.#waitedMs });
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

export interface Expected<T> {
  readonly status: number;
  readonly schema: z.ZodType<T>;
  /** What was asked about, for the message: `order 0199c2b0-…`. */
  readonly about: string;
}

/** The body of an answer; a CliError where that is another one than was expected. */
export function expectBody<T>(answer: HttpAnswer, { status, schema, about }: Expected<T>): T {
  if (answer.status !== status) {
    const { title, detail } = problemOf(answer);
    throw new CliError(`${about}: ${answer.status} ${title}${detail ? `: ${detail}` : ''}`);
  }
  const parsed = schema.safeParse(answer.body);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0] ?? { path: [], message: '' };
  throw new CliError(`${about}: unexpected answer (${path.join('.') || 'body'}: ${message}): is this a Sluice server?`);
}
