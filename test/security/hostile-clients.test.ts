// Clients that send or read slowly, send too much, or are too many: each loses its connection or gets an error, the
// server's memory stays bounded, and a client beside them is answered as usual.
import { setTimeout as delay } from 'node:timers/promises';
import zlib from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../setup/wait.ts';
import { LIMITS } from './limits.ts';
import { type AttackedServer, beside, openAll, RawClient, startServer } from './server.ts';

const MIB = 1024 * 1024;
const ATTACKERS = 100;
const POST = ['POST /echo HTTP/1.1', 'Host: localhost', 'Content-Type: application/json'] as const;
const GET = ['GET /small HTTP/1.1', 'Host: localhost', '', ''] as const;

let server: AttackedServer;
let before: number;
/** Starts a server for the tests of a block. */
const serverWith = (limits: Partial<typeof LIMITS>) => {
  beforeAll(async () => {
    server = await startServer({ ...LIMITS, ...limits });
  });
  afterAll(() => server?.stop());
};
beforeEach(async () => {
  const settled = await eventually(async () => (await server.facts()).connections === 0, {
    what: 'no connection is left',
  });
  expect(settled).toBe(true);
  before = (await server.facts()).residentBytes;
});

/** How much more memory the server has than before the test, in MiB. */
const grownMib = async () => ((await server.facts()).residentBytes - before) / MIB;

describe('slow clients', () => {
  serverWith({});

  test('one that sends its headers slowly gets a 408', async () => {
    const clients = await beside(server, async () => {
      const attackers = await openAll(server.port, ATTACKERS);
      for (const attacker of attackers) attacker.write('GET /small HTTP/1.1', 'X-Slow: ');
      await Promise.all(attackers.map((attacker) => attacker.drip('x')));
      return attackers;
    });
    // A reset may overtake the response to a client that goes on sending.
    const told = clients.filter(({ status }) => status === 408);
    expect(told.length).toBeGreaterThan(ATTACKERS / 2);
    expect(told[0]?.received).toContain('"type":"/problems/request-timeout"');
  });

  test('one that sends its body slowly gets a 408', async () => {
    const clients = await beside(server, async () => {
      const attackers = await openAll(server.port, ATTACKERS);
      for (const attacker of attackers) attacker.write(...POST, 'Content-Length: 10000', '', '{"text":"');
      await Promise.all(attackers.map((attacker) => attacker.drip('x')));
      return attackers;
    });
    expect(clients.filter(({ status }) => status === 408).length).toBeGreaterThan(ATTACKERS / 2);
  });

  test('a connection that was opened in advance may be idle for longer than headers may take', async () => {
    const [early, idle, slow] = await Promise.all([1, 2, 3].map(() => RawClient.open(server.port)));
    slow?.write('GET / HTTP/1.1', '');
    await slow?.closed;
    early?.write(...GET);
    await eventually(() => early?.status === 200, { what: 'the response on the idle connection' });
    const startedAt = performance.now();
    await idle?.closed;
    expect(idle?.received).toBe('');
    expect(performance.now() - startedAt).toBeLessThan(2 * (LIMITS.keepAliveMs + 1_000));
  });

  test('one that does not read its response loses the connection, and its memory is free again', async () => {
    await beside(server, async () => {
      const attackers = await openAll(server.port, 10);
      for (const attacker of attackers) {
        attacker.socket.pause();
        attacker.write('GET /large HTTP/1.1', 'Host: localhost', '', '');
      }
      await eventually(async () => (await server.facts()).connections >= 10, { what: 'the attack has begun' });
      // The other client has the one connection that is left.
      await eventually(async () => (await server.facts()).connections <= 1, { what: 'the attackers are gone' });
    });
  });

  test('one that reads its response slowly loses the connection', async () => {
    await beside(server, async () => {
      const attacker = await RawClient.open(server.port);
      const { socket } = attacker;
      attacker.write('GET /large HTTP/1.1', 'Host: localhost', '', '');
      socket.on('data', () => {
        socket.pause();
        setTimeout(() => socket.resume(), 50);
      });
      await attacker.closed;
      expect(attacker.status).toBe(200);
      expect(socket.bytesRead).toBeLessThan(16 * MIB);
    });
  });
});

describe('clients that send too much', () => {
  // What they send takes a busy machine longer than a slow client may take above.
  serverWith({ headersMs: 10_000, requestMs: 30_000 });

  test.for([
    ['one large header', [`X: ${'x'.repeat(17 * 1024)}`], 431],
    ['too many headers', Array.from({ length: 300 }, (_, index) => `X-${index}: x`), 431],
    ['many headers', Array.from({ length: 150 }, (_, index) => `X-${index}: x`), 200],
  ] as const)('%s', async ([, headers, status]) => {
    const client = await RawClient.open(server.port);
    client.write('GET /small HTTP/1.1', 'Host: localhost', ...headers, '', '');
    await eventually(() => client.status === status, { what: `a ${status}` });
    if (status === 431) expect(client.received).toContain('"type":"/problems/headers-too-large"');
  });

  test.for([
    ['no HTTP', 'hello\r\n\r\n'],
    ['a TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    [
      'both a length and chunks',
      'POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['no Host', 'GET /small HTTP/1.1\r\n\r\n'],
  ])('%s gets a 400', async ([, text]) => {
    const client = (await RawClient.open(server.port)).write(String(text));
    await client.closed;
    expect(client.status).toBe(400);
  });

  test('a body that never ends gets a 413 while it arrives, and the connection ends', async () => {
    await beside(server, async () => {
      const attacker = await RawClient.open(server.port);
      attacker.write(...POST, 'Transfer-Encoding: chunked', '', '');
      const chunk = `${(64 * 1024).toString(16)}\r\n${'x'.repeat(64 * 1024)}\r\n`;
      while (attacker.socket.writable) {
        if (!attacker.socket.write(chunk)) await Promise.race([attacker.closed, delay(10)]);
      }
      expect(attacker.status).toBe(413);
    });
    expect(await grownMib()).toBeLessThan(100);
  });

  test('a body that says it is too large gets a 413 at once', async () => {
    const client = (await RawClient.open(server.port)).write(...POST, `Content-Length: ${10 ** 12}`, '', '{');
    await client.closed;
    expect(client.status).toBe(413);
  });

  test.for([
    ['gzip', gzipBomb],
    ['deflate', deflateBomb],
    ['br', brotliBomb],
  ] as const)('a bomb of %s, 900 MiB in less than one, gets a 413 and takes no memory', async ([encoding, make]) => {
    const bomb = await make();
    expect(bomb.length).toBeLessThan(MIB);
    await beside(server, async () => {
      const attackers = await openAll(server.port, 10);
      for (const { socket } of attackers) {
        const head = [...POST, `Content-Encoding: ${encoding}`, `Content-Length: ${bomb.length}`, 'Connection: close'];
        socket.write(`${head.join('\r\n')}\r\n\r\n`);
        socket.write(bomb);
      }
      await Promise.all(attackers.map(({ closed }) => closed));
      expect(attackers.map(({ status }) => status)).toEqual(attackers.map(() => 413));
    });
    expect(await grownMib()).toBeLessThan(100);
  });

  test('many large bodies at the same time do not fill the memory', async () => {
    const part = Buffer.alloc(64 * 1024, 'x');
    await beside(server, async () => {
      const attackers = await openAll(server.port, 140);
      for (const attacker of attackers) attacker.write(...POST, `Content-Length: ${MIB}`, '', '{"text":"');
      // All but the end of each body.
      for (let sent = 64; sent < 1024; sent += 64) {
        await delay(20);
        // A reset would overtake the response to a client that goes on sending.
        for (const { socket, status } of attackers) if (status === undefined) socket.write(part);
      }
      await eventually(() => attackers.some(({ status }) => status === 503), {
        what: 'a body too many is rejected',
        timeoutMs: 20_000,
      });
      expect(await grownMib()).toBeLessThan(350);
      for (const { socket } of attackers) socket.destroy();
    });
  });

  test('a client that sends many requests without waiting for the responses loses the connection', async () => {
    const flood = (requests: number) => GET.join('\r\n').repeat(requests);
    const patient = (await RawClient.open(server.port)).write(flood(50));
    await eventually(() => patient.received.split('HTTP/1.1 200 ').length === 51, { what: '50 responses' });
    await beside(server, async () => {
      const attackers = await openAll(server.port, 5);
      for (const attacker of attackers) attacker.write(flood(1_000));
      await Promise.all(attackers.map(({ closed }) => closed));
    });
    expect(await grownMib()).toBeLessThan(100);
  });
});

describe('too many clients', () => {
  serverWith({});

  test('one connection too many is closed at once, and those that are open are answered', async () => {
    await beside(server, async () => {
      const { dropped } = await server.facts();
      const attackers = await openAll(server.port, LIMITS.maxConnections + 50);
      await eventually(async () => (await server.facts()).dropped > dropped, { what: 'connections are closed' });
      expect((await server.facts()).connections).toBe(LIMITS.maxConnections);
      for (const { socket } of attackers) socket.destroy();
    });
    await eventually(async () => (await server.facts()).connections === 0, { what: 'all connections are closed' });
    await beside(server, async () => undefined);
  });
});

const blank = Buffer.alloc(MIB, ' ');

/** Gzip files may be joined. */
async function gzipBomb(): Promise<Buffer> {
  const part = zlib.gzipSync(blank, { level: 9 });
  return Buffer.concat([zlib.gzipSync('{"text":"'), ...Array.from({ length: 900 }, () => part)]);
}

/** So may the blocks of Deflate that no other block refers to. */
async function deflateBomb(): Promise<Buffer> {
  const part = zlib.deflateRawSync(blank, { level: 9, finishFlush: zlib.constants.Z_SYNC_FLUSH });
  return Buffer.concat([Buffer.from([0x78, 0x9c]), ...Array.from({ length: 900 }, () => part)]);
}

async function brotliBomb(): Promise<Buffer> {
  const stream = zlib.createBrotliCompress({ params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } });
  const compressed = stream.toArray();
  for (let written = 0; written < 900; written++)
    if (!stream.write(blank)) await new Promise((resolve) => stream.once('drain', resolve));
  stream.end();
  return Buffer.concat(await compressed);
}
