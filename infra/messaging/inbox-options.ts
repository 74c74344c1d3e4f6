// What an inbox is made with. Each of its parts uses some of it.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import type { HandlingOutcome } from '../observability/log-format.ts';
import type { EventCatalogue } from './catalogue.ts';
import type { AnyHandlers, OnDead } from './handler.ts';

export interface InboxOptions {
  readonly database: Database;
  /** The service's schema, which holds the table. */
  readonly schema: string;
  readonly catalogue: EventCatalogue;
  readonly handlers: AnyHandlers;
  readonly onDead?: OnDead | undefined;
  /** The name of a message's subject in log lines. */
  readonly subjectName?: string | undefined;
  /** Attempts at a message before it is dead, and the delays between them. */
  readonly attempts: number;
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
  /** After this, a claimed row may be claimed again: must exceed the slowest handler. */
  readonly leaseMs: number;
  /** Messages that a transport leaves unacknowledged at the most. */
  readonly prefetch: number;
  /** Rows that this process processes at a time, at the most. */
  readonly maxRows: number;
  /** How soon rows are found whose delay is over, or that another process wrote. */
  readonly pollMs: number;
  /** How long messages that are done are kept. */
  readonly retentionDays: number;
  readonly log: Logger;
  /** Called for every message whose outcome is recorded. `type` is one of `handlers`, or `unknown`. */
  readonly onOutcome?: (type: string, outcome: HandlingOutcome, seconds: number) => void;
  /** Called with the number of unreadable messages that were deleted. */
  readonly onUnreadablePruned?: (count: number) => void;
}
