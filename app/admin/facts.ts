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
import type { AnyService, FactSource } from '../../infra/runtime/service.ts';
import { schemaOf } from '../schemas.ts';

/** All ids are greater. */
const FIRST = '00000000-0000-0000-0000-000000000000';

export interface FactsOptions {
  readonly name: ServiceName;
  readonly service: Pick<AnyService, 'facts' | 'resend'>;
  readonly database: Database;
  readonly outbox: Outbox;
}

export function factsRoutes(router: Router, options: FactsOptions): void {
  const { name, service, database } = options;
  for (const [list, source] of Object.entries(service.facts)) factsRoute(router, list, source, database);
  messagesRoute(router, name, database);
  resendRoute(router, options);
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

/** POST /audit/<service>/resend: resends, at once, the last request about each id that is named. */
function resendRoute(router: Router, { name, service, database, outbox }: FactsOptions): void {
  const { resend } = service;
  if (!resend) return;
  route(router, `/audit/${name}/resend`, {
    post: [
      jsonBody,
      async (request, response) => {
        const { ids } = parse(resendRequest, request.body);
        const requests = [...new Set(ids)].map((id) => ({ id, eventId: uuidv7() }));
        const { length: count } = await outbox.write(database.background, resend, requests);
        const body: Resent = { resent: count };
        response.status(202).json(body);
      },
    ],
  });
}
