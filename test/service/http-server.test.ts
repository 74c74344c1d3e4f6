import { fork } from 'node:child_process';
import { once } from 'node:events';
import { IncomingMessage, type RequestListener, ServerResponse } from 'node:http';
import { connect, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { listen } from '../../infra/http/server.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { eventually } from '../setup/wait.ts';

/** More than the 1,024 sockets that libuv reads at a time. */
const CONNECTIONS = 1_500;
const REQUESTS = 20 * CONNECTIONS;
const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

test('one turn of the event loop handles at most one request per connection, however fast clients send', async () => {
  const script = fileURLToPath(new URL('http-server.child.ts', import.meta.url));
  const child = fork(script, { execArgv: ['--import', 'tsx'] });
  const exited = once(child, 'exit');
  cleanUps.push(() => {
    if (child.connected) child.disconnect();
    return exited;
  });
  const [url] = (await once(child, 'message')) as [string];
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => open(Number(new URL(url).port))));
  let left = REQUESTS;
  /** Sends the next request of a connection as soon as it has its response. */
  const flood = (socket: Socket) =>
    new Promise<void>((resolve, reject) => {
      socket.on('error', reject).on('data', () => (left-- > 0 ? socket.write(REQUEST) : resolve()));
      socket.write(REQUEST);
    });
  await Promise.all(sockets.map(flood));
  child.send('most');
  const [most] = (await once(child, 'message')) as [number];
  expect(most).toBeLessThanOrEqual(CONNECTIONS);
  for (const socket of sockets) socket.destroy();
});

test('at most 10,000 requests wait to be handled', async () => {
  let handled = 0;
  const { server } = await listen(() => handled++, '127.0.0.1', 0);
  cleanUps.push(() => server.close());
  // As the parser does for each request that it has read: so many need a hundred clients that pipeline.
  const arrive = (requests: number) => {
    for (let socket = new Socket(); requests > 0; requests--) {
      if (requests % 100 === 0) socket = new Socket();
      const request = new IncomingMessage(socket);
      server.emit('request', request, new ServerResponse(request));
    }
  };
  arrive(9_999);
  expect(handled).toBe(0);
  arrive(1);
  expect(handled).toBe(10_000);
  arrive(1);
  await eventually(() => handled === 10_001, { what: 'the next turn handles the last one' });
});

async function serve(handler: RequestListener): Promise<number> {
  const { server, url } = await listen(handler, '127.0.0.1', 0);
  cleanUps.push(() => server.close().closeAllConnections());
  return Number(new URL(url).port);
}

test('a request whose client has broken off is not handled', async () => {
  const handled: boolean[] = [];
  let arrived = 0;
  const port = await serve((request, response) => {
    handled.push(request.socket.destroyed);
    response.end();
  });
  const body = '{"reason":"changed my mind"}';
  for (const part of [body, body.slice(0, 9)])
    for (let client = 0; client < 20; client++, arrived++) {
      const socket = await open(port);
      socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${part}`, () =>
        socket.resetAndDestroy(),
      );
    }
  const last = await open(port);
  last.write(REQUEST);
  await once(last, 'data');
  last.destroy();
  expect(arrived).toBe(40);
  expect(handled).toContain(false);
  expect(handled).not.toContain(true);
});

test('every pipelined request is closed with its connection, so that none counts as in flight for ever', async () => {
  let [arrived, closed] = [0, 0];
  const port = await serve((_request, response) => {
    arrived++;
    response.once('close', () => closed++);
  });
  const socket = await open(port);
  socket.write(REQUEST.repeat(50));
  await eventually(() => arrived === 50, { what: 'all requests have arrived' });
  socket.destroy();
  await eventually(() => closed === 50, { what: 'all requests are closed' });
});

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}
