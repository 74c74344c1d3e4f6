// The states of resources, for GET /readyz, and of connections that are restored in the background.
import type { Logger } from 'pino';
import { reasonOf } from './reason.ts';

export interface Health {
  readonly status: 'up' | 'degraded' | 'down';
  /** Public, so it contains no error message and no address; those are logged. */
  readonly detail?: string;
}

export interface ConnectionStateOptions {
  /** The subject of the log lines: "MQTT session". */
  readonly name: string;
  readonly log: Logger;
  /** Further fields of the log lines, as they are at that moment. */
  readonly fields?: () => object;
}

/**
 * The state of a connection that is restored in the background. Logs each loss, each new reason and each recovery, not
 * each attempt.
 */
export class ConnectionState {
  readonly #options: ConnectionStateOptions;
  #health: Health = { status: 'down', detail: 'connecting' };
  #lastError: string | undefined;

  constructor(options: ConnectionStateOptions) {
    this.#options = options;
  }

  get health(): Health {
    return this.#health;
  }

  /** Why there is no connection, in the words of the last error. For the log: it may name addresses. */
  get lastError(): string {
    return this.#lastError ?? this.#health.detail ?? 'none';
  }

  up(detail?: string): void {
    const { name, log, fields } = this.#options;
    if (this.#health.status === 'down') log.info({ ...fields?.(), detail }, `${name} is up`);
    this.#health = detail === undefined ? { status: 'up' } : { status: 'up', detail };
    this.#lastError = undefined;
  }

  /** Connected, with a limitation. */
  degraded(detail: string): void {
    this.#health = { status: 'degraded', detail };
  }

  /**
   * Logs the loss of the connection, and later each reason that differs from the last one. `detail` is public, the
   * error is for the log only.
   */
  down(detail: string, error?: unknown): void {
    const { name, log, fields } = this.#options;
    const reason = error === undefined ? detail : reasonOf(error);
    const wasConnected = this.#health.status !== 'down';
    if (wasConnected || reason !== this.#lastError)
      log.warn({ ...fields?.(), reason }, wasConnected ? `${name} lost its connection` : `${name} is down`);
    this.#health = { status: 'down', detail };
    this.#lastError = reason;
  }

  /** Down on purpose, which is not logged. */
  reset(detail: string): void {
    this.#health = { status: 'down', detail };
  }
}
