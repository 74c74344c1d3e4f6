// The routes under /audit/:service: the facts that `sluice audit` compares, and the contents of the service's outbox and
// inbox. Everything is bounded, and pages follow existing unique keys.
import type { Router } from 'express';
import { v7 as uuidv7 } from 'uuid';
import { factsQuery, messagesQuery, type Resent, resendRequest } from '../../contracts/facts.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { Database } from '../../infra/database/port.ts';
import { jsonBody, route } from '../../infra/http/app.ts';
import { parse } from '../../infra/http/validate.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { countMessages, locateMessages } from '../../infra/messaging/stored-messages.ts';
import type { AnyService, FactSource, Resend } from '../../infra/runtime/service.ts';
import { schemaOf } from '../schemas.ts';

/** All ids are greater. */
const FIRST = '00000000-0000-0000-0000-000000000000';

export interface FactsOptions {
  readonly name: ServiceName;
  readonly service: Pick<AnyService, 'facts' | 'resend'>;
  readonly database: Database;
  readonly outbox: Outbox;
}

export function factsRoutes(router: Router, { name, service, database, outbox }: FactsOptions): void {
  for (const [list, source] of Object.entries(service.facts)) factsRoute(router, list, source, database);
  messagesRoute(router, name, database);
  if (service.resend) resendRoute(router, name, service.resend, { database, outbox });
}

/** GET /audit/<list> */
function factsRoute(router: Router, list: string, source: FactSource, database: Database): void {
  route(router, `/audit/${list}`, {
    get: [
      async (request, response) => {
        const { after = FIRST, limit, ids } = parse(factsQuery, request.query);
        const most = Math.min(limit, source.maxLimit ?? limit);
        const queryable = source.maxLimit === undefined ? database.background : database.longRunning;
        const items = await (ids ? source.of(queryable, ids) : source.after(queryable, after, most));
        const next = ids || items.length < most ? null : (items.at(-1)?.id ?? null);
        response.json({ items, next });
      },
    ],
  });
}

/** GET /audit/<service>/messages */
function messagesRoute(router: Router, name: ServiceName, database: Database): void {
  const schema = schemaOf(name);
  route(router, `/audit/${name}/messages`, {
    get: [
      async (request, response) => {
        const { ids } = parse(messagesQuery, request.query);
        response.json(
          ids
            ? { items: await locateMessages(database.background, schema, ids) }
            : await countMessages(database.longRunning, schema),
        );
      },
    ],
  });
}

/**
 * POST /audit/<service>/resend: says anew, at once, what was asked last about the ids that are named. Under a new event
 * id: a service that remembers the old one would only repeat its answer, and to the new one it writes what is missing.
 */
function resendRoute(
  router: Router,
  name: ServiceName,
  { chosen, events }: Resend,
  { database, outbox }: Pick<FactsOptions, 'database' | 'outbox'>,
): void {
  const anew = `SELECT r."eventId" AS event_id, e.type, e.subject, e.time, e.data FROM (${events}) AS e
    JOIN json_to_recordset($1::json) AS r (id text, "eventId" uuid) ON r.id = e.subject`;
  route(router, `/audit/${name}/resend`, {
    post: [
      jsonBody,
      async (request, response) => {
        const { ids } = parse(resendRequest, request.body);
        const named = JSON.stringify([...new Set(ids)].map((id) => ({ id, eventId: uuidv7() })));
        const resent = await outbox.writeAtOnce(database.background, 'bus', anew, [named], chosen);
        const answer: Resent = { resent };
        response.status(202).json(answer);
      },
    ],
  });
}
