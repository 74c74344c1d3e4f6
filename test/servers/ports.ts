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

// Two of Vitest's processes must not choose the same port before either uses it: one test's service would answer the
// other test's requests. So each has a part of the range for itself: the main one, which has no number, and the workers.
const parts = 4;
const part = Number(process.env.VITEST_POOL_ID ?? 0) % parts;
const portsOfPart = Math.floor((highest + 1 - lowest) / parts);
const chosen = new Set<number>();

/** A port that is unused and that this process has not chosen before. Another program may still take it. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = lowest + part * portsOfPart + randomInt(portsOfPart);
    if (chosen.has(port)) continue;
    chosen.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port found between ${lowest} and ${highest} in 100 tries`);
}
