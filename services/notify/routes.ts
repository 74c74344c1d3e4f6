import type { Router } from 'express';
import { pageOf, pageQuery } from '../../contracts/pages.ts';
import { userId } from '../../contracts/text.ts';
import type { Database } from '../../infra/database/port.ts';
import { parse, parsePath, route } from '../../infra/http/app.ts';
import { listNotifications } from './store/notifications.ts';

export function notifyRoutes(router: Router, database: Database): void {
  route(router, '/users/:userId/notifications', {
    get: [
      async (request, response) => {
        const user = parsePath(userId, request.params.userId, 'user');
        const { after, limit } = parse(pageQuery, request.query);
        response.json(pageOf(await listNotifications(database, user, after, limit + 1), limit));
      },
    ],
  });
}
