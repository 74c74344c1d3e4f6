// The routes under /audit/:service: the facts that `sluice audit` compares, and the contents of the service's outbox
// and inbox. Every response is bounded, and pages follow existing unique keys.
import { v7 as uuidv7 } from 'uuid';
import type { Fact, FactList, FactsQuery } from '../../contracts/facts.ts';
import { factsRoute, messagesRoute, resendRoute } from '../../contracts/routes/audit.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { Database } from '../../infra/database/port.ts';
import { actorOf } from '../../infra/http/actor.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { countMessages, locateMessages } from '../../infra/messaging/stored-messages.ts';
import { actionParam, type OperatorAction, recordAction } from '../../infra/operators/operator-actions.ts';
import type { AnyService, FactSource } from '../../infra/runtime/service.ts';
import { schemaOf } from '../schemas.ts';

/** Less than every id. */
const FIRST = '00000000-0000-0000-0000-000000000000';

type Resend = NonNullable<AnyService['resend']>;

export interface AuditOptions {
  readonly name: ServiceName;
  readonly service: Pick<AnyService, 'facts' | 'resend'>;
  readonly database: Database;
  readonly outbox: Outbox;
}

export function serveAudit(api: Api, { name, service, database, outbox }: AuditOptions): void {
  for (const [list, source] of Object.entries(service.facts))
    api.handle(factsRoute(list as FactList), async ({ query }) => reply(200, await readFacts(source, database, query)));
  api.handle(messagesRoute(name), async ({ query: { ids } }) =>
    reply(
      200,
      ids
        ? { items: await locateMessages(database.background, schemaOf(name), ids) }
        : await countMessages(database.longRunning, schemaOf(name)),
    ),
  );
  const { resend } = service;
  if (!resend) return;
  // Resends, at once, the last request about each id in the body.
  api.handle(resendRoute(name), async ({ body }, request) => {
    const ids = [...new Set(body.ids)];
    const requests = ids.map((id) => ({ id, eventId: uuidv7() }));
    const action = { actor: actorOf(request), action: 'audit.resend', service: name, details: { ids } };
    const { length: count } = await outbox.write(database.background, recorded(resend, action), requests);
    return reply(202, { resent: count });
  });
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

async function readFacts(source: FactSource, database: Database, { after = FIRST, limit, ids }: FactsQuery) {
  const most = Math.min(limit, source.maxLimit ?? limit);
  const queryable = source.maxLimit === undefined ? database.background : database.longRunning;
  // A source does not know the type of its facts; a test checks the facts of each list.
  const items = (await (ids ? source.of(queryable, ids) : source.after(queryable, after, most))) as Fact<FactList>[];
  return { items, next: ids || items.length < most ? null : (items.at(-1)?.id ?? null) };
}
