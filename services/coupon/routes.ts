import type { Router } from 'express';
import { pageOf, pageQuery } from '../../contracts/pages.ts';
import { userId } from '../../contracts/text.ts';
import type { Database } from '../../infra/database/port.ts';
import { parse, parsePath, route } from '../../infra/http/app.ts';
import { listCoupons } from './store/coupons.ts';

export function couponRoutes(router: Router, database: Database): void {
  route(router, '/users/:userId/coupons', {
    get: [
      async (request, response) => {
        const user = parsePath(userId, request.params.userId, 'user');
        const { after, limit } = parse(pageQuery, request.query);
        response.json(pageOf(await listCoupons(database, user, after, limit + 1), limit));
      },
    ],
  });
}
