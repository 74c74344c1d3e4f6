// GET /failed-messages/:service and the retry calls; GET /readyz
import { z } from 'zod';
import { pageQuery } from './pages.ts';
import { text } from './text.ts';

const filter = {
  status: z.enum(['retrying', 'dead']).optional(),
  type: text(1, 200).optional(),
};
export const failedMessagesQuery = pageQuery.extend(filter);
/** Strict: a filter that is misspelt would retry everything. */
export const retryQuery = z.strictObject(filter);

export interface FailedMessage {
  /** The event's id. */
  readonly id: string;
  readonly type: string | null;
  readonly subject: string | null;
  readonly status: 'retrying' | 'dead';
  readonly attempts: number;
  readonly error: string | null;
  readonly nextAttemptAt: string | null;
  readonly receivedAt: string;
  /** As it arrived, the first 64 KiB; bytes that are not UTF-8 are shown as U+FFFD. */
  readonly payload: string;
}

export interface ResourceState {
  readonly status: 'up' | 'degraded' | 'down';
  readonly detail?: string;
}
export interface ConsumerState extends ResourceState {
  /** Messages that wait or are under way, as far as the broker tells; null before the first look. */
  readonly backlog: number | null;
  readonly lastProgressAt: string | null;
}
export interface Readiness {
  readonly status: 'up' | 'degraded' | 'down';
  readonly resources: Readonly<Record<string, ResourceState>>;
  readonly consumers: Readonly<Record<string, ConsumerState>>;
}
