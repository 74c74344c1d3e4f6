// The guard under ten times the load that a process can serve. Only figures of the same run are compared, and only
// medians and counts, which one pause of a busy machine does not change. A unit test checks the exact limit with its
// own clock.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CALM_MS } from '../../infra/http/event-loop-lag.ts';
import { DEFAULTS, type OverloadGuard } from '../../infra/http/overload.ts';
import { eventually } from '../setup/wait.ts';

/** Each request keeps the server's processor busy for this long. */
const WORK_MS = 4;
const MAX_LAG_MS = 150;
/** Far more connections than requests that the server can serve within the allowed lag. */
const CROWD = 400;

interface Answer {
  readonly status: number;
  readonly retryAfter: number;
  /** Since the load began. */
  readonly sentAt: number;
  readonly latencyMs: number;
}

/**
 * A keep-alive connection with one request at a time. A response needs a Content-Length or must fit into one packet.
 */
class Client {
  readonly #socket: Socket;
  #answered: ((head: string) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;
  #received = '';

  private constructor(socket: Socket) {
    this.#socket = socket;
    const fail = (error: Error) => this.#failed?.(error);
    socket.setNoDelay().setEncoding('latin1');
    socket.on('error', fail).on('close', () => fail(new Error('the server closed a connection')));
    socket.on('data', (chunk: string) => {
      this.#received += chunk;
      const end = this.#received.indexOf('\r\n\r\n');
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.#received)?.[1]);
      if (end < 0 || this.#received.length < end + 4 + length) return;
      const head = this.#received;
      this.#received = '';
      this.#answered?.(head);
    });
  }

  static async connect(port: number): Promise<Client> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new Client(socket);
  }

  send(request: string, loadBegan: number): Promise<Answer> {
    const sentAt = performance.now();
    return new Promise((resolve, reject) => {
      this.#failed = reject;
      this.#answered = (head) =>
        resolve({
          status: Number(head.slice(9, 12)),
          retryAfter: Number(/\r\nretry-after: (\d+)/i.exec(head)?.[1]),
          sentAt: sentAt - loadBegan,
          latencyMs: performance.now() - sentAt,
        });
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#failed = undefined;
    this.#socket.destroy();
  }
}

const purchase =
  'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"userId":"a"}';
const healthz = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';

interface Load {
  readonly perSecond: number;
  readonly forMs: number;
  readonly request?: string;
}

/** Opens connections and waits until the server has accepted them: Node accepts one per turn of its loop. */
async function open(port: number, count: number): Promise<Client[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => Client.connect(port)));
  await Promise.all(clients.map((client) => client.send(healthz, 0)));
  return clients;
}

/** Sends at a rate on free connections; a connection is free when it has its response. Closes the connections. */
async function load(clients: Client[], { perSecond, forMs, request = purchase }: Load): Promise<Answer[]> {
  const free = [...clients];
  const answers: Promise<Answer>[] = [];
  const began = performance.now();
  const elapsed = () => performance.now() - began;
  for (let sent = 0; elapsed() < forMs; await delay(1)) {
    for (; sent < (elapsed() * perSecond) / 1_000; sent++) {
      const client = free.shift();
      if (client) answers.push(client.send(request, began).finally(() => free.push(client)));
    }
  }
  try {
    return await Promise.all(answers);
  } finally {
    for (const client of clients) client.close();
  }
}

const median = (answers: readonly Answer[]) => {
  const sorted = answers.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};
const accepted = (answers: readonly Answer[]) => answers.filter(({ status }) => status === 200);
const from = (ms: number, answers: readonly Answer[]) => answers.filter(({ sentAt }) => sentAt >= ms);

const children: ChildProcess[] = [];
afterAll(async () => {
  for (const child of children) {
    const exited = once(child, 'exit');
    child.disconnect();
    await exited;
  }
});

async function serve(kind: 'guarded' | 'unguarded') {
  const script = fileURLToPath(new URL('overload.child.ts', import.meta.url));
  const child = fork(script, [kind, String(WORK_MS), String(MAX_LAG_MS)], { execArgv: ['--import', 'tsx'] });
  children.push(child);
  const [port] = (await once(child, 'message')) as [number];
  const stats = async () => {
    child.send('stats');
    const [answer] = await once(child, 'message');
    return answer as OverloadGuard['rejected'] & { lagMs?: number };
  };
  return { port, stats };
}

const bearable: Load = { perSecond: 0.8 * (1_000 / WORK_MS), forMs: 1_500 };
/** Connections of a bearable load: so few that the loop does not lag even on a busy machine. */
const FEW = 2;
/** By then the guard has recognised the overload, unless the machine stood still; before, it tolerates a burst. */
const RECOGNISED_MS = 2 * (MAX_LAG_MS + DEFAULTS.toleratedMs);
const forMs = RECOGNISED_MS + 2_000;

/** A bearable load, ten times as much together with health probes, and a bearable load again. */
async function loadInTurn(kind: 'guarded' | 'unguarded') {
  const { port, stats } = await serve(kind);
  const before = await load(await open(port, FEW), bearable);
  const rejectedBefore = await stats();
  const [crowd, probes] = [await open(port, CROWD), await open(port, 50)];
  const [flood, health] = await Promise.all([
    load(crowd, { perSecond: 10 * bearable.perSecond, forMs }),
    load(probes, { perSecond: 50, forMs, request: healthz }),
  ]);
  const rejectedInFlood = await stats();
  // Until then the guard tolerates no lag; then it stops its timer and reports no lag.
  await eventually(async () => (await stats()).lagMs === undefined, {
    what: 'the guard has stopped its timer',
    timeoutMs: CALM_MS + 10_000,
  });
  const after = await load(await open(port, FEW), bearable);
  return { before, rejectedBefore, flood, health, rejectedInFlood, after, rejectedAfter: await stats() };
}

describe('at ten times the load that a process can serve', () => {
  let guarded: Awaited<ReturnType<typeof loadInTurn>>;
  let unguarded: Awaited<ReturnType<typeof loadInTurn>>;
  beforeAll(async () => {
    guarded = await loadInTurn('guarded');
    unguarded = await loadInTurn('unguarded');
  });

  /** The median of the requests that were sent once the overload was recognised. */
  const usual = (answers: readonly Answer[]) => median(from(RECOGNISED_MS, answers));

  test('accepted requests do not wait for the others', () => {
    // Without the guard each request waits for the work of all others, which is ten times the allowed lag.
    expect(usual(accepted(guarded.flood))).toBeLessThan(0.5 * usual(accepted(unguarded.flood)));
  });

  test('it keeps accepting requests while it rejects others', () => {
    const perSecond = from(RECOGNISED_MS, accepted(guarded.flood)).length / ((forMs - RECOGNISED_MS) / 1_000);
    // A tenth, because the rejections and other tests use the processors, too. A guard that starves would accept less.
    expect(perSecond).toBeGreaterThan(0.1 * (accepted(guarded.before).length / (bearable.forMs / 1_000)));
  });

  test('rejected requests are told when to retry, long before they would have been served', () => {
    const rejected = guarded.flood.filter(({ status }) => status === 503);
    expect(rejected.length + accepted(guarded.flood).length).toBe(guarded.flood.length);
    expect(rejected.length).toBe(guarded.rejectedInFlood.lag);
    expect(rejected.length).toBeGreaterThan(accepted(guarded.flood).length);
    expect(rejected.every(({ retryAfter }) => retryAfter >= 1 && retryAfter <= 3)).toBe(true);
    expect(usual(rejected)).toBeLessThan(0.5 * usual(accepted(unguarded.flood)));
  });

  test('routes that are not sheddable are always served, and do not wait for the others', () => {
    expect(accepted(guarded.health)).toHaveLength(guarded.health.length);
    expect(usual(guarded.health)).toBeLessThan(0.5 * usual(unguarded.health));
  });

  test('before and after the flood no request is rejected', () => {
    expect(accepted(guarded.before)).toHaveLength(guarded.before.length);
    expect(guarded.rejectedBefore).toMatchObject({ inFlight: 0, lag: 0 });
    expect(accepted(guarded.after)).toHaveLength(guarded.after.length);
    expect(guarded.rejectedAfter).toMatchObject({ inFlight: 0, lag: guarded.rejectedInFlood.lag });
  });
});
