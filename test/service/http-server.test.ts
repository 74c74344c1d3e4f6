import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { cleanUps } from '../setup/clean-ups.ts';

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

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}
