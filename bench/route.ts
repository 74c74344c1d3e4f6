// Bare routes to compare the system with, each a process of its own with the settings of Sluice's application: an
// Express route that parses an order with the same schema and echoes it (`route.ts order`); one that parses a purchase
// and rejects it as the flash sale does (`route.ts flash-sale`); and a node:http server that ignores the request
// (`route.ts http`), to show that the load generator could do more.
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type RequestHandler } from 'express';
import { purchaseRequest } from '../contracts/flash-sales.ts';
import { placeOrderRequest } from '../contracts/orders.ts';
import { MAX_BODY_BYTES } from '../infra/http/body.ts';
import { Problem } from '../infra/http/problem.ts';
import { rejectionMessage } from '../services/flash-sale/pages/messages.ts';

function expressRoute(path: string, handler: RequestHandler): RequestListener {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.post(path, express.json({ limit: MAX_BODY_BYTES }), handler);
  return app;
}

const listeners = {
  order: () =>
    expressRoute('/orders', (request, response) => {
      response.status(201).json(placeOrderRequest.parse(request.body));
    }),
  'flash-sale': () => {
    const problem = new Problem(429, 'queue-full', rejectionMessage('queue-full', 'open'));
    return expressRoute('/flash-sales/:id/purchases', (request, response) => {
      purchaseRequest.parse(request.body);
      response.status(429).set('Retry-After', '1').type('application/problem+json').json(problem);
    });
  },
  http: () => (request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(201, { 'Content-Length': 2 }).end('{}'));
  },
} satisfies Record<string, () => RequestListener>;
export type RouteKind = keyof typeof listeners;

const server = createServer(listeners[process.argv[2] as RouteKind]());
server.listen(0, '127.0.0.1', () => process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.on('disconnect', () => {
  server.close();
  server.closeAllConnections();
});
