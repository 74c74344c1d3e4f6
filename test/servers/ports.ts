// Free TCP ports on the loopback interface.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below the range that Linux (32768) and macOS (49152) use for outgoing connections: a client that retries while its
// server is down could otherwise get the server's own port, and connect to itself.
const lowest = 10_000;
const highest = 32_767;

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });

/** An unused port. It is not reserved: the caller tries another one if it is taken meanwhile. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(lowest, highest + 1);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port found between ${lowest} and ${highest} in 100 tries`);
}
