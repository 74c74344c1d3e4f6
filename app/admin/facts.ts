// The routes under /audit/:service: the facts that `sluice audit` compares, and the contents of the service's outbox
// and inbox. Every response is bounded, and pages follow existing unique keys.
import type { RequestHandler, Router } from 'express';
import { v7 as uuidv7 } from 'uuid';
import { factsQuery, messagesQuery, resendRequest } from '../../contracts/facts.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { Database } from '../../infra/database/port.ts';
import { actorOf } from '../../infra/http/actor.ts';
import { jsonBody, parse, route } from '../../infra/http/app.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { countMessages, locateMessages } from '../../infra/messaging/stored-messages.ts';
import { actionParam, type OperatorAction, recordAction } from '../../infra/operators/operator-actions.ts';
import type { AnyService, FactSource } from '../../infra/runtime/service.ts';
import { schemaOf } from '../schemas.ts';

/** Less than every id. */
const FIRST = '00000000-0000-0000-0000-000000000000';

type Resend = NonNullable<AnyService['resend']>;

export interface FactsOptions {
  readonly name: ServiceName;
  readonly service: Pick<AnyService, 'facts' | 'resend'>;
  readonly database: Database;
  readonly outbox: Outbox;
}

export function factsRoutes(router: Router, { name, service, database, outbox }: FactsOptions): void {
  const get = (path: string, respond: (query: unknown) => Promise<object>) =>
    route(router, `/audit/${path}`, {
      get: async ({ query }, response) => {
        response.json(await respond(query));
      },
    });

  for (const [list, source] of Object.entries(service.facts)) get(list, (query) => readFacts(source, database, query));

  get(`${name}/messages`, async (query) => {
    const { ids } = parse(messagesQuery, query);
    return ids
      ? { items: await locateMessages(database.background, schemaOf(name), ids) }
      : countMessages(database.longRunning, schemaOf(name));
  });

  const { resend } = service;
  if (!resend) return;
  // Resends, at once, the last request about each id in the body.
  const handler: RequestHandler = async (request, response) => {
    const ids = [...new Set(parse(resendRequest, request.body).ids)];
    const requests = ids.map((id) => ({ id, eventId: uuidv7() }));
    const action = { actor: actorOf(request), action: 'audit.resend', service: name, details: { ids } };
    const { length: count } = await outbox.write(database.background, recorded(resend, action), requests);
    response.status(202).json({ resent: count });
  };
  route(router, `/audit/${name}/resend`, { post: [jsonBody, handler] });
}

/** The statement of a resend, which also records it. */
const recorded = (resend: Resend, action: OperatorAction): Resend => ({
  ...resend,
  effects: `${resend.effects ? `${resend.effects},` : 'WITH'} resending AS (${resend.events}),
    recorded AS (${recordAction(
      2,
      `(SELECT NULL::json AS before, json_build_object('resent', count(*)) AS after FROM resending HAVING count(*) > 0)`,
    )})`,
  events: 'SELECT * FROM resending',
  params: (requests) => [...resend.params(requests), actionParam(action)],
});

async function readFacts(source: FactSource, database: Database, query: unknown) {
  const { after = FIRST, limit, ids } = parse(factsQuery, query);
  const most = Math.min(limit, source.maxLimit ?? limit);
  const queryable = source.maxLimit === undefined ? database.background : database.longRunning;
  const items = await (ids ? source.of(queryable, ids) : source.after(queryable, after, most));
  return { items, next: ids || items.length < most ? null : (items.at(-1)?.id ?? null) };
}
