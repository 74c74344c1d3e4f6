// What the system is measured against, each a process of its own: a bare Express route that reads an order, checks it
// against the same schema and echoes it (`route.js express`), with the settings that Sluice's own application has; and
// a bare node:http server that answers without looking (`route.js http`), to see that the load generator could do more.
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { placeOrderRequest } from '../contracts/orders.ts';
import { MAX_BODY_BYTES } from '../infra/http/app.ts';

function expressRoute(): RequestListener {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.post('/orders', express.json({ limit: MAX_BODY_BYTES }), (request, response) => {
    response.status(201).json(placeOrderRequest.parse(request.body));
  });
  return app;
}

const answer: RequestListener = (request, response) => {
  request.resume();
  request.on('end', () => response.writeHead(201, { 'Content-Length': 2 }).end('{}'));
};

const server = createServer(process.argv[2] === 'express' ? expressRoute() : answer);
server.listen(0, '127.0.0.1', () => process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.on('disconnect', () => {
  server.close();
  server.closeAllConnections();
});
