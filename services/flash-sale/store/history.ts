// What the flash-sale service has stored about a ticket, for the history of its order.
import { backoff } from '../../../infra/database/sql.ts';
import { type EntrySql, historyFrom, type ReadHistory } from '../../../infra/messaging/history.ts';
import { SCHEMA } from './sales.ts';

const TICKET = `${SCHEMA}.tickets t WHERE t.id = ANY($1::uuid[])`;

const ENTRIES: readonly EntrySql[] = [
  {
    kind: 'admitted',
    at: 't.created_at',
    detail: `'with number ' || t.number || ' to the sale ' || t.sale_id`,
    from: TICKET,
  },
  {
    kind: 'written',
    at: 't.accepted_at',
    eventId: 't.accepted_event_id',
    type: `'flash-sale.ticket.accepted'`,
    from: TICKET,
  },
  { kind: 'ticket', at: 't.closed_at', detail: `concat_ws(': ', t.status, NULLIF(t.reason, ''))`, from: TICKET },
  {
    kind: 'written',
    at: 't.closed_at',
    eventId: 't.closed_event_id',
    type: `'flash-sale.ticket.closed'`,
    from: `${TICKET} AND t.closed_event_id IS NOT NULL`,
  },
];

/**
 * Besides these entries, the last resend of the ticket's request: `resend_at` was set to its time plus the delay.
 * `resendAfterMs`: the delay of the first resend.
 */
export const ticketHistory = ({ resendAfterMs }: { readonly resendAfterMs: number }): ReadHistory =>
  historyFrom([
    ...ENTRIES,
    {
      kind: 'resent',
      at: `t.resend_at - ${backoff('t.resends', undefined, String(resendAfterMs))}`,
      eventId: 't.accepted_event_id',
      type: `'flash-sale.ticket.accepted'`,
      attempt: 't.resends',
      from: `${TICKET} AND t.resends > 0`,
    },
  ]);
