import { createServer, type RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { EventLoopLag, LoadShedder } from '../../infra/http/event-loop-lag.ts';
import { OverloadGuard, type OverloadGuardOptions } from '../../infra/http/overload.ts';
import { deferred } from '../../infra/runtime/promises.ts';
import { postJson } from '../setup/api.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { listen } from '../setup/listen.ts';
import { eventually } from '../setup/wait.ts';

const MAX_MS = 100;
const TOLERATED_MS = 300;

/** An event loop with turns of a given length. A turn returns how many of its `requests` were accepted. */
function turning() {
  let now = 1_000_000;
  const lag = new EventLoopLag(now);
  const shedder = new LoadShedder(MAX_MS, TOLERATED_MS, now);
  const turn = (lengthMs: number, requests = 10) => {
    lag.tick(now);
    shedder.observe(lag.at(now));
    let accepted = 0;
    for (let request = 0; request < requests; request++) {
      if (shedder.accepts(lag.at(now), now)) accepted++;
      now += lengthMs / requests;
    }
    return accepted;
  };
  return {
    turn,
    turns: (count: number, lengthMs: number) => Array.from({ length: count }, () => turn(lengthMs)),
  };
}

describe('event-loop lag', () => {
  test('the lag of a request in a long turn counts from the start of the previous turn', () => {
    const lag = new EventLoopLag(0);
    lag.tick(10);
    lag.tick(80);
    expect(lag.at(130)).toBe(120);
  });

  test('short turns reject no request, however many come', () => {
    expect(
      turning()
        .turns(1_000, 40)
        .every((accepted) => accepted === 10),
    ).toBe(true);
  });

  test('one long pause rejects no request', () => {
    const { turn, turns } = turning();
    turns(10, 5);
    turn(2_000, 1);
    expect(turns(10, 5)).toEqual(Array(10).fill(10));
  });

  test('lag that lasts rejects requests', () => {
    const { turns } = turning();
    expect(turns(2, 200)).toEqual([10, 10]);
    expect(turns(4, 200).slice(1)).toEqual([0, 0, 0]);
  });

  test('during an overload only requests within the limit are accepted, without further tolerance', () => {
    const { turns, turn } = turning();
    turns(5, 200);
    turn(20);
    expect(turn(20)).toBe(10);
    // The previous turn took 20 ms, so requests of the next 80 ms are within the limit and the rest of this turn is
    // not.
    expect(turn(200)).toBe(5);
    expect(turn(20)).toBe(0);
    expect(turn(20)).toBe(10);
  });

  test('after a calm period a burst is tolerated again', () => {
    const { turns, turn } = turning();
    turns(5, 200);
    turns(110, 20);
    expect(turn(200)).toBe(10);
  });

  test('if rejecting does not help, some requests are accepted anyway', () => {
    const { turns } = turning();
    turns(5, 200);
    const accepted = turns(50, 200).reduce((sum, each) => sum + each, 0);
    expect(accepted).toBeGreaterThanOrEqual(8);
    expect(accepted).toBeLessThanOrEqual(50);
  });
});

async function serve(listener: RequestListener, options: Partial<OverloadGuardOptions> = {}) {
  const guard = new OverloadGuard({ isSheddable: ({ method }) => method === 'POST', ...options });
  const server = createServer(guard.guard(listener));
  const port = await listen(server);
  cleanUps.push(() => {
    guard.stop();
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { guard, port };
}

/** A connection that collects what it receives; `closed`: whether the server has ended it. */
function talk(port: number): { socket: Socket; seen: { text: string; closed: boolean } } {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1');
  const seen = { text: '', closed: false };
  socket.on('data', (chunk: string) => {
    seen.text += chunk;
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    seen.closed = true;
  });
  cleanUps.push(() => socket.destroy());
  return { socket, seen };
}
/** Not the tests' client: the guarded listener has no schema. */
const statusOf = async (port: number, request: RequestInit = { method: 'POST', body: '{}' }) =>
  (await fetch(`http://127.0.0.1:${port}/`, request)).status;
const post = (body: string, headers = `Content-Length: ${body.length}\r\n`) =>
  `POST /purchases HTTP/1.1\r\nHost: x\r\n${headers}\r\n${body}`;
const get = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';
const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
const echo: RequestListener = (request, response) => {
  request.resume().once('end', () => response.end('ok'));
};

describe('the guard', () => {
  test('rejects with a problem that says when to retry', async () => {
    const { guard, port } = await serve(echo, { maxInFlight: 0 });
    const answer = await postJson(`http://127.0.0.1:${port}/`, {});
    expect(answer.status).toBe(503);
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
    expect(['1', '2', '3']).toContain(answer.headers['retry-after']);
    expect(answer.body).toMatchObject({
      type: '/problems/unavailable',
      status: 503,
      title: expect.any(String),
    });
    expect(guard.rejected).toEqual({ inFlight: 1, lag: 0 });
  });

  test('spreads the times to retry', async () => {
    const { port } = await serve(echo, { maxInFlight: 0 });
    const { socket, seen } = talk(port);
    socket.write(post('{}').repeat(200));
    await eventually(() => statuses(seen.text).length === 200, { what: '200 responses' });
    expect(new Set([...seen.text.matchAll(/Retry-After: (\d+)/g)].map(([, seconds]) => seconds)).size).toBe(3);
  });

  test('accepts maxInFlight requests, and the next one once a response is sent', async () => {
    const gate = deferred();
    const { guard, port } = await serve(
      (_request, response) => {
        void gate.promise.then(() => response.end('ok'));
      },
      { maxInFlight: 2 },
    );
    const send = () => statusOf(port);
    const first = [send(), send()];
    await eventually(() => guard.inFlight === 2, { what: 'two are in flight' });
    expect(await send()).toBe(503);
    gate.resolve();
    expect(await Promise.all(first)).toEqual([200, 200]);
    await eventually(() => guard.inFlight === 0, { what: 'none is in flight' });
    expect(await send()).toBe(200);
    expect(guard.rejected).toEqual({ inFlight: 1, lag: 0 });
  });

  test('frees the slot of a client that went away', async () => {
    const { guard, port } = await serve(() => {}, { maxInFlight: 1 });
    const { socket } = talk(port);
    socket.write(post('{}'));
    await eventually(() => guard.inFlight === 1, { what: 'it is in flight' });
    socket.destroy();
    await eventually(() => guard.inFlight === 0, { what: 'none is in flight' });
  });

  test('frees the slot of a request whose body does not arrive', async () => {
    const { guard, port } = await serve(echo, { maxInFlight: 1, bodyWithinMs: 100 });
    const { socket, seen } = talk(port);
    socket.write(post('{', 'Content-Length: 2\r\n'));
    await eventually(() => seen.closed, { what: 'the connection is ended' });
    expect(guard.inFlight).toBe(0);
  });

  test('accepts requests that are not sheddable at any load', async () => {
    const { port } = await serve(echo, { maxInFlight: 0 });
    expect(await statusOf(port, { method: 'GET' })).toBe(200);
  });

  test('rejects without reading a short body, and keeps the connection open', async () => {
    let handled = 0;
    const { port } = await serve(
      (request, response) => {
        handled++;
        echo(request, response);
      },
      { maxInFlight: 0 },
    );
    const { socket, seen } = talk(port);
    const body = 'x'.repeat(10_000);
    // The second half of the body follows after the response, together with two more requests.
    socket.write(post(body).slice(0, -5_000));
    await eventually(() => statuses(seen.text).length === 1, { what: 'the rejection' });
    socket.write(body.slice(0, 5_000) + post(body) + get);
    await eventually(() => statuses(seen.text).length === 3, { what: 'three responses' });
    expect(statuses(seen.text)).toEqual(['503', '503', '200']);
    expect(seen.closed).toBe(false);
    expect(handled).toBe(1);
  });

  test.each([
    ['a long body', 'Content-Length: 1000000\r\n'],
    ['a body of unknown length', 'Transfer-Encoding: chunked\r\n'],
    ['a compressed body of unknown length', 'Transfer-Encoding: gzip, chunked\r\n'],
  ])('rejects %s by ending the connection', async (_what, headers) => {
    const { port } = await serve(echo, { maxInFlight: 0 });
    const { socket, seen } = talk(port);
    socket.write(post('', headers));
    await eventually(() => seen.closed, { what: 'the connection is ended' });
    expect(statuses(seen.text)).toEqual(['503']);
    expect(seen.text).toMatch(/\r\nConnection: close\r\n/);
  });

  test('two pauses with an interval between them are not lag that lasts', async () => {
    const seen: number[] = [];
    const { guard, port } = await serve(
      (request, response) => {
        if (request.method === 'POST') seen.push(guard.lagMs ?? Number.NaN);
        const until = performance.now() + (request.method === 'GET' ? 200 : 0);
        while (performance.now() < until);
        echo(request, response);
      },
      { maxLagMs: 100, toleratedMs: 300 },
    );
    const [busy, buyer] = [talk(port), talk(port)];
    buyer.socket.write(post('{}'));
    await eventually(() => statuses(buyer.seen.text).length === 1, { what: 'the first response' });
    for (const pause of [1, 2]) {
      const began = performance.now();
      await eventually(() => performance.now() - began > 400 && (guard.lagMs ?? 0) < 100, { what: 'calm' });
      busy.socket.write(get);
      buyer.socket.write(post('{}'));
      await eventually(() => statuses(buyer.seen.text).length === 1 + pause, { what: 'the next response' });
    }
    expect(seen.slice(1).every((lagMs) => lagMs > 100)).toBe(true);
    expect(guard.rejected.lag).toBe(0);
  });

  test('the timer stops by itself without sheddable requests', async () => {
    const { guard, port } = await serve(echo);
    await statusOf(port);
    expect(guard.lagMs).toBeGreaterThanOrEqual(0);
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const watching = timers();
    await eventually(() => timers() < watching && guard.lagMs === undefined, { what: 'one timer less' });
  });
});
