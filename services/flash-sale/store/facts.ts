// The flash-sale service's facts for the audit.
import type { SaleFact, TicketFact } from '../../../contracts/facts.ts';
import { msBetween } from '../../../infra/database/sql.ts';
import { type FactSource, factsFrom } from '../../../infra/runtime/service.ts';
import { SCHEMA } from './sales.ts';

export const ticketFacts = factsFrom<TicketFact>(
  'id',
  (where, limit) => `SELECT id, user_id AS "userId", status, order_id AS "orderId",
    ${msBetween('greatest(created_at, accepted_at, closed_at)', 'now()')} AS "sinceMs",
    CASE WHEN status IN ('accepted', 'awaiting-payment') THEN ${msBetween('now()', 'resend_at')} END AS "dueInMs"
  FROM ${SCHEMA}.tickets WHERE ${where} ORDER BY id ${limit}`,
);

/** Sales in one response: each one costs a scan of all its tickets. */
const MAX_SALES = 20;
/** Users with two live tickets that the fact of a sale names. */
const MAX_NAMED = 20;

/** The row and its tickets in one statement, so that both are of the same moment. */
const facts = factsFrom<SaleFact>(
  'id',
  (where, limit) => `SELECT s.id, s.stock, s.remaining, s.queue_cap AS "queueCap",
    json_build_object('queued', s.queued, 'held', s.held, 'sold', s.sold, 'released', s.released,
      'admitted', s.admitted) AS row,
    json_build_object('queued', t.queued, 'held', t.held, 'sold', t.sold, 'released', t.released,
      'admitted', t.admitted, 'lastNumber', t.last_number, 'doubled', d.doubled, 'doubledUsers', d.users) AS tickets
  FROM (SELECT * FROM ${SCHEMA}.sales WHERE ${where} ORDER BY id ${limit}) AS s
  CROSS JOIN LATERAL (
    SELECT count(*) AS admitted, coalesce(max(number), 0) AS last_number,
      count(*) FILTER (WHERE status = 'queued') AS queued,
      count(*) FILTER (WHERE status IN ('queued', 'accepted', 'awaiting-payment')) AS held,
      count(*) FILTER (WHERE status = 'ordered') AS sold,
      count(*) FILTER (WHERE status IN ('released', 'failed')) AS released
    FROM ${SCHEMA}.tickets WHERE sale_id = s.id
  ) AS t
  CROSS JOIN LATERAL (
    SELECT count(*) AS doubled, coalesce(json_agg(user_id) FILTER (WHERE place <= ${MAX_NAMED}), '[]') AS users
    FROM (
      SELECT user_id, row_number() OVER (ORDER BY user_id) AS place FROM ${SCHEMA}.tickets
      WHERE sale_id = s.id AND status NOT IN ('released', 'failed') GROUP BY user_id HAVING count(*) > 1
    ) AS several
  ) AS d
  ORDER BY s.id`,
);
export const saleFacts: FactSource<SaleFact> = { ...facts, maxLimit: MAX_SALES };
