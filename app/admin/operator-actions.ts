// GET /operator-actions: what operators have changed, newest first.
import type { Router } from 'express';
import { type OperatorAction, operatorActionsQuery } from '../../contracts/operations.ts';
import { pageOf } from '../../contracts/pages.ts';
import type { Database } from '../../infra/database/port.ts';
import { parse, route } from '../../infra/http/app.ts';
import { listActions, type RecordedAction } from '../../infra/operators/operator-actions.ts';

export function operatorActionsRoutes(router: Router, database: Pick<Database, 'background'>): void {
  route(router, '/operator-actions', {
    get: async ({ query }, response) => {
      const { service, after, limit } = parse(operatorActionsQuery, query);
      const rows = await listActions(database.background, service, after, limit + 1);
      response.json(pageOf(rows.map(operatorAction), limit));
    },
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
