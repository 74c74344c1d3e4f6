// The routes under /audit/:service: a service's facts for whoever compares them (`sluice audit`), and what its outbox and
// inbox hold. Everything is bounded, and pages follow existing unique keys.
import type { Router } from 'express';
import { v7 as uuidv7 } from 'uuid';
import {
  type AskedAgain,
  askAgainRequest,
  type Fact,
  type FactList,
  factsQuery,
  type MessageAbout,
  type MessagesSummary,
  messagesQuery,
} from '../../contracts/audit.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { Database, Queryable } from '../../infra/database/port.ts';
import { jsonBody, route } from '../../infra/http/app.ts';
import { parse } from '../../infra/http/validate.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { schemaOf } from '../../infra/runtime/service.ts';

/** SQL of milliseconds from `from` to `to`, null where one of them is null or infinite. */
export const msBetween = (from: string, to: string) =>
  `CASE WHEN isfinite(${from}) AND isfinite(${to})
     THEN round(extract(epoch FROM ${to} - ${from}) * 1000)::bigint END`;

/** Facts in the order of their ids: of the ids that are given, or those after one of them. */
export interface Facts<L extends FactList> {
  /** At most `limit`; fewer only at the end. */
  after(database: Queryable, id: string, limit: number): Promise<Fact<L>[]>;
  of(database: Queryable, ids: readonly string[]): Promise<Fact<L>[]>;
  /** Facts in one answer at the most, where each takes long. */
  readonly maxLimit?: number;
}

/** All ids are greater. */
const FIRST = '00000000-0000-0000-0000-000000000000';

/** GET /audit/<list> */
export function factRoute<L extends FactList>(router: Router, database: Database, list: L, facts: Facts<L>): void {
  route(router, `/audit/${list}`, {
    get: [
      async (request, response) => {
        const { after = FIRST, limit, ids } = parse(factsQuery, request.query);
        const most = Math.min(limit, facts.maxLimit ?? limit);
        const items = await (ids ? facts.of(database.background, ids) : facts.after(database.background, after, most));
        const next = ids || items.length < most ? null : (items.at(-1)?.id ?? null);
        response.json({ items, next });
      },
    ],
  });
}

/** GET /audit/<service>/messages */
export function messagesRoute(router: Router, database: Database, service: ServiceName): void {
  const schema = schemaOf(service);
  route(router, `/audit/${service}/messages`, {
    get: [
      async (request, response) => {
        const { ids } = parse(messagesQuery, request.query);
        const queryable = database.background;
        response.json(ids ? { items: await messagesOf(queryable, schema, ids) } : await summary(queryable, schema));
      },
    ],
  });
}

/**
 * POST /audit/<service>/ask-again: says anew, at once, what was asked last about the ids that are named. Under a new event
 * id: a service that remembers the old one would only repeat its answer, and to the new one it writes what is missing.
 * `chosen`: CTE `asked`, the rows of `asked` that `events` speak of; $1: [{ id, eventId }].
 */
export function askAgainRoute(
  router: Router,
  database: Database,
  outbox: Outbox,
  service: ServiceName,
  chosen: string,
  events: string,
): void {
  const anew = `SELECT r."eventId" AS event_id, e.type, e.subject, e.time, e.data FROM (${events}) AS e
    JOIN json_to_recordset($1::json) AS r (id text, "eventId" uuid) ON r.id = e.subject`;
  route(router, `/audit/${service}/ask-again`, {
    post: [
      jsonBody,
      async (request, response) => {
        const { ids } = parse(askAgainRequest, request.body);
        const named = JSON.stringify([...new Set(ids)].map((id) => ({ id, eventId: uuidv7() })));
        const asked = await outbox.writeAtOnce(database.background, 'bus', anew, [named], chosen);
        const answer: AskedAgain = { asked };
        response.status(202).json(answer);
      },
    ],
  });
}

/** Dead messages that the summary names. */
const MAX_DEAD = 20;

async function summary(database: Queryable, schema: string): Promise<MessagesSummary> {
  const rows = await database.query<{ place: string; rows: number; oldest_ms: number | null }>(
    `SELECT channel AS place, count(*) AS rows, ${msBetween('min(time)', 'now()')} AS oldest_ms
     FROM ${schema}.outbox GROUP BY channel
     UNION ALL
     SELECT 'pending', count(*), ${msBetween('min(received_at)', 'now()')} FROM ${schema}.inbox WHERE status = 'pending'
     UNION ALL
     SELECT status, count(*), ${msBetween('min(received_at)', 'now()')} FROM ${schema}.inbox
     WHERE status IN ('retrying', 'dead') GROUP BY status`,
  );
  const dead = await database.query<MessagesSummary['dead'][number]>(
    `SELECT message_id AS id, type, subject, coalesce(error, '') AS error FROM ${schema}.inbox
     WHERE status IN ('retrying', 'dead') AND status = 'dead'
     ORDER BY received_at DESC, message_id DESC LIMIT ${MAX_DEAD}`,
  );
  const at = (place: string) => {
    const found = rows.find((row) => row.place === place);
    return { rows: found?.rows ?? 0, oldestMs: found?.oldest_ms ?? null };
  };
  return {
    outbox: { bus: at('bus'), user: at('user') },
    inbox: { pending: at('pending'), retrying: at('retrying'), dead: at('dead') },
    dead,
  };
}

/** Each SELECT by an index of what is not done: the done ones may be millions. */
function messagesOf(database: Queryable, schema: string, ids: readonly string[]): Promise<MessageAbout[]> {
  return database.query<MessageAbout>(
    `SELECT subject, event_id AS id, type, 'outbox' AS place FROM ${schema}.outbox
     WHERE channel = 'bus' AND subject = ANY($1::text[])
     UNION ALL
     SELECT subject::text, message_id, type, status FROM ${schema}.inbox
     WHERE status = 'pending' AND subject = ANY($1::uuid[])
     UNION ALL
     SELECT subject::text, message_id, type, status FROM ${schema}.inbox
     WHERE status IN ('retrying', 'dead') AND subject = ANY($1::uuid[])`,
    [ids],
  );
}
