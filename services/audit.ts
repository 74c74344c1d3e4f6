// The routes under /audit/:service: a service's facts for whoever compares them (`sluice audit`), and what its outbox and
// inbox hold. Reading only; everything is bounded, and pages follow existing unique keys.
import type { Router } from 'express';
import {
  type Fact,
  type FactList,
  factsQuery,
  type MessageAbout,
  type MessagesSummary,
  messagesQuery,
} from '../contracts/audit.ts';
import type { ServiceName } from '../contracts/services.ts';
import type { Database, Queryable } from '../infra/database/port.ts';
import { route } from '../infra/http/app.ts';
import { parse } from '../infra/http/validate.ts';
import { schemaOf } from './service.ts';

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
