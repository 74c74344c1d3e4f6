// A server whose work takes processor time, with or without the guard. Exits when it is disconnected.
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { OverloadGuard } from '../../infra/http/overload.ts';

const [guarded, workMs, maxLagMs] = process.argv.slice(2);

const listener: RequestListener = (request, response) => {
  if (request.url === '/healthz') {
    response.end('ok');
    return;
  }
  request.resume().once('end', () => {
    const until = performance.now() + Number(workMs);
    while (performance.now() < until);
    response.end('done');
  });
};
const guard = new OverloadGuard({
  isSheddable: (request) => request.method === 'POST',
  maxLagMs: Number(maxLagMs),
});
const server = createServer(guarded === 'guarded' ? guard.guard(listener) : listener);
// On a busy machine a client may send after a long pause on a connection that it keeps open.
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1', 1024, () => process.send?.((server.address() as AddressInfo).port));
process.on('message', () => process.send?.({ ...guard.rejected, lagMs: guard.lagMs }));
process.on('disconnect', () => {
  guard.stop();
  server.close();
  server.closeAllConnections();
});
