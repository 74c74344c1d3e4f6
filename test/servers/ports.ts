// Free TCP ports on the loopback interface.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below the range that Linux (32768) and macOS (49152) take the local ends of outgoing connections from: a client that
// retries while its server is down could otherwise be given the server's own port, and connect to itself.
const lowest = 10_000;
const highest = 32_767;

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });

/** A port that nothing listens on. It is not held: whoever starts a server there tries another one when it is taken. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(lowest, highest + 1);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port found between ${lowest} and ${highest} in 100 tries`);
}
