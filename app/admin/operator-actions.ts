// GET /operator-actions: what operators have changed, newest first.
import type { OperatorAction } from '../../contracts/operations.ts';
import { pageOf } from '../../contracts/pages.ts';
import { operatorRoutes } from '../../contracts/routes/operations.ts';
import type { Database } from '../../infra/database/port.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { listActions, type RecordedAction } from '../../infra/operators/operator-actions.ts';

export function serveOperatorActions(api: Api, database: Pick<Database, 'background'>): void {
  api.handle(operatorRoutes.listOperatorActions, async ({ query: { service, after, limit } }) => {
    const rows = await listActions(database.background, service, after, limit + 1);
    return reply(200, pageOf(rows.map(operatorAction), limit));
  });
}

/** Only this code records actions, so their names and objects are those of the contract. */
const operatorAction = ({ at, updated_at, actor, origin, ...row }: RecordedAction) =>
  ({
    ...row,
    at: at.toISOString(),
    updatedAt: updated_at?.toISOString() ?? null,
    who: actor,
    from: origin,
  }) as OperatorAction;
