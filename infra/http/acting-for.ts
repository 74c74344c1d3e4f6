// What an operator does for a user is recorded, too. It is recorded before it is done, because the user's own requests
// share statements in which a record would cost all of them: so a record may stand for a request that changed nothing.
import type { Request } from 'express';
import { isActingFor } from '../access/caller.ts';
import type { Queryable } from '../database/port.ts';
import { actionParam, type OperatorAction, recordAction } from '../operators/operator-actions.ts';
import { actorOf } from './actor.ts';
import { callerOf } from './authentication.ts';

/** `states`: of what is about to change, as far as they are known. */
export async function recordActingFor(
  database: Queryable,
  request: Request,
  action: Omit<OperatorAction, 'actor' | 'details'> & { readonly user: string },
  states: { readonly before: object | null; readonly after: object },
): Promise<void> {
  const { user, ...about } = action;
  if (!isActingFor(callerOf(request), user)) return;
  const param = actionParam({ ...about, actor: actorOf(request), details: { userId: user } });
  await database.query(recordAction(1, '(SELECT $2::json AS before, $3::json AS after)'), [
    param,
    JSON.stringify(states.before),
    JSON.stringify(states.after),
  ]);
}
