// A server that counts the requests which it handles in one turn of the event loop. Exits when it is disconnected.
import { listen } from '../../infra/http/server.ts';

/** Longer than the client takes for a request, so that as many connections as possible are ready again at any time. */
const WORK_MS = 0.1;

let handled = 0;
let most = 0;
const countTurn = () => {
  most = Math.max(most, handled);
  handled = 0;
};

const { url, server } = await listen(
  (_request, response) => {
    if (handled++ === 0) setImmediate(countTurn);
    const until = performance.now() + WORK_MS;
    while (performance.now() < until);
    response.end('done');
  },
  '127.0.0.1',
  0,
);
process.on('message', () => process.send?.(most));
process.on('disconnect', () => server.close().closeAllConnections());
process.send?.(url);
