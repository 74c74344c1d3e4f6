import type { Router } from 'express';
import { pageOf, pageQuery } from '../../contracts/pages.ts';
import { userId } from '../../contracts/text.ts';
import type { Database } from '../../infra/database/port.ts';
import { parse, parsePath, route } from '../../infra/http/app.ts';
import { listEntries, readBalance } from './store/entries.ts';

export function pointsRoutes(router: Router, database: Database): void {
  route(router, '/users/:userId/points', {
    get: [
      async (request, response) => {
        const user = parsePath(userId, request.params.userId, 'user');
        const { after, limit } = parse(pageQuery, request.query);
        const [balance, entries] = await Promise.all([
          readBalance(database, user),
          listEntries(database, user, after, limit + 1),
        ]);
        response.json({ balance, ...pageOf(entries, limit) });
      },
    ],
  });
}
