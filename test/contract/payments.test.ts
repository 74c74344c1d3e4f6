// The payment port on the simulated provider, over HTTP: no order is charged twice. The provider runs in a process of
// its own, as `sluice payment-provider`, and inside the process, as without PAYMENT_URL.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { ledgerPage } from '../../contracts/payments.ts';
import { openHttpProvider } from '../../services/order/payments/http-provider.ts';
import { type ChargeOutcome, type PaymentProvider, PaymentUnknown } from '../../services/order/payments/port.ts';
import { type Behaviour, behaviour } from '../../simulators/payment-provider/behaviour.ts';
import { openEmbeddedProvider } from '../../simulators/payment-provider/embedded.ts';
import { Journal } from '../../simulators/payment-provider/journal.ts';
import { Ledger } from '../../simulators/payment-provider/ledger.ts';
import { approvals, SimulatedProvider } from '../../simulators/payment-provider/simulated-provider.ts';
import { call, get, jsonRequest } from '../setup/api.ts';
import { listen } from '../setup/listen.ts';
import { type PaymentsProcess, startPayments, type Told } from '../setup/payments.ts';
import { eventually, gate } from '../setup/wait.ts';

const log = pino({ level: 'silent' });
const TIMEOUT_MS = 5_000;
/** The delay of a late provider, in tests that wait for it. */
const LATE_MS = 2_000;
/** Longer than any test waits. */
const NEVER_MS = 600_000;

const order = (amount = 1_999) => ({ orderId: randomUUID(), amount, currency: 'GBP' });

function client(url: string, timeoutMs = TIMEOUT_MS): PaymentProvider {
  const provider = openHttpProvider({ url, timeoutMs });
  onTestFinished(() => provider.close());
  return provider;
}

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-payments-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

const outcomeOf = (answer: Promise<ChargeOutcome>) =>
  answer.catch((error) => {
    if (error instanceof PaymentUnknown) return 'unknown' as const;
    throw error;
  });

describe('in a process of its own', () => {
  let payments: PaymentsProcess;
  let told: Behaviour;
  beforeAll(async () => {
    const late = ['--delay', '1', '--decide-late', '2', '--respond-late', '3'];
    const args = ['--decline', '0.25', '--decline-every', '3', ...late, '--away'];
    payments = await startPayments({ source: true, args });
    told = await payments.behaviour();
  });
  afterAll(() => payments?.stop());
  beforeEach(() => payments.behave({}));
  const underWay = (count: number) =>
    eventually(async () => (await payments.underWay()) >= count, { what: `${count} requests are under way` });

  test('the flags of the command set its behaviour', () => {
    expect(told).toEqual({
      declineShare: 0.25,
      declineEvery: 3,
      delayMs: 1,
      decideLateMs: 2,
      respondLateMs: 3,
      away: true,
    });
  });

  test('repeating an approved charge resolves with approved and charges nothing more', async () => {
    const provider = client(payments.url);
    const charge = order();
    expect(await provider.charge(charge)).toBe('approved');
    expect(await provider.charge(charge)).toBe('approved');
    expect(await payments.entry(charge.orderId)).toMatchObject({ status: 'charged', amount: 1_999, currency: 'GBP' });
    expect((await payments.entries()).filter(({ orderId }) => orderId === charge.orderId)).toHaveLength(1);
  });

  test('an order with a total of 0 is charged like any other', async () => {
    const charge = order(0);
    expect(await client(payments.url).charge(charge)).toBe('approved');
    expect(await payments.entry(charge.orderId)).toMatchObject({ status: 'charged', amount: 0 });
  });

  test('concurrent charges of one order are one charge', async () => {
    const provider = client(payments.url);
    const charge = order();
    const arrive = gate(20);
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => arrive().then(() => provider.charge(charge))));
    expect(outcomes).toEqual(Array(20).fill('approved'));
    expect((await payments.entries()).filter(({ orderId }) => orderId === charge.orderId)).toHaveLength(1);
  });

  test('a declined charge charges nothing, and a later attempt may be approved', async () => {
    await payments.behave({ declineShare: 1 });
    const provider = client(payments.url);
    const charge = order();
    expect(await provider.charge(charge)).toBe('declined');
    expect(await payments.entry(charge.orderId)).toBeUndefined();
    await payments.behave({});
    expect(await provider.charge(charge)).toBe('approved');
    await payments.behave({ declineEvery: 1 });
    expect(await provider.charge(charge)).toBe('approved');
  });

  test.each([
    ['another amount', { amount: 1 }],
    ['another currency', { currency: 'EUR' }],
  ])('%s under the same key is rejected, not unknown, and changes nothing', async (_, other) => {
    const provider = client(payments.url);
    const charge = order();
    await provider.charge(charge);
    const rejected = await provider.charge({ ...charge, ...other }).catch((error) => error);
    expect(rejected).toBeInstanceOf(Error);
    expect(rejected).not.toBeInstanceOf(PaymentUnknown);
    expect(rejected.message).toMatch(/422.*charged with 1999 GBP/);
    expect(await payments.entry(charge.orderId)).toMatchObject({ status: 'charged', amount: 1_999, currency: 'GBP' });
  });

  test('a response after the timeout is unknown; repeating the charge resolves with its outcome', async () => {
    await payments.behave({ respondLateMs: NEVER_MS });
    const charge = order();
    const charging = outcomeOf(client(payments.url, LATE_MS).charge(charge));
    const charged = await eventually(() => payments.entry(charge.orderId), { what: 'it is charged' });
    expect(await charging).toBe('unknown');
    await payments.behave({});
    expect(await client(payments.url).charge(charge)).toBe('approved');
    expect(await payments.entry(charge.orderId)).toEqual(charged);
  });

  test('a charge is decided even if its client has left, and an equal charge meanwhile shares the decision', async () => {
    await payments.behave({ decideLateMs: LATE_MS });
    const before = await payments.underWay();
    const charges = [order(), order()] as const;
    const leaving = client(payments.url);
    const outcomes = charges.map((charge) => outcomeOf(leaving.charge(charge)));
    await underWay(before + 2);
    await leaving.close();
    expect(await Promise.all(outcomes)).toEqual(['unknown', 'unknown']);
    for (const { orderId } of charges) expect(await payments.entry(orderId)).toBeUndefined();
    // A new decision would take longer than this client waits.
    await payments.behave({ decideLateMs: NEVER_MS });
    expect(await client(payments.url).charge(charges[0])).toBe('approved');
    await eventually(() => payments.entry(charges[1].orderId), { what: 'the other one is charged' });
  });

  test('a request whose client hangs up during the delay is dropped', async () => {
    await payments.behave({ delayMs: LATE_MS });
    const before = await payments.underWay();
    const charge = order();
    const leaving = client(payments.url);
    const outcome = outcomeOf(leaving.charge(charge));
    await underWay(before + 1);
    await leaving.close();
    expect(await outcome).toBe('unknown');
    // A later request is done, so the delay of the first one is over too.
    expect(await client(payments.url).charge(order())).toBe('approved');
    expect(await payments.entry(charge.orderId)).toBeUndefined();
  });

  test('a key that is cancelled before any charge is never charged', async () => {
    const provider = client(payments.url);
    const charge = order();
    await provider.cancel(charge.orderId);
    expect(await provider.charge(charge)).toBe('declined');
    expect(await payments.entry(charge.orderId)).toMatchObject({ status: 'cancelled' });
  });

  test('a key that is cancelled after its charge is refunded once and not charged again', async () => {
    const provider = client(payments.url);
    const charge = order();
    await provider.charge(charge);
    await provider.cancel(charge.orderId);
    const refunded = await payments.entry(charge.orderId);
    expect(refunded).toMatchObject({ status: 'refunded', amount: 1_999 });
    await provider.cancel(charge.orderId);
    expect(await provider.charge(charge)).toBe('declined');
    expect(await payments.entry(charge.orderId)).toEqual(refunded);
  });

  test('a key that is cancelled while a charge is under way is not charged', async () => {
    await payments.behave({ decideLateMs: LATE_MS });
    const before = await payments.underWay();
    const provider = client(payments.url);
    const charge = order();
    const charging = provider.charge(charge);
    await underWay(before + 1);
    await provider.cancel(charge.orderId);
    expect(await charging).toBe('declined');
    expect(await payments.entry(charge.orderId)).toMatchObject({ status: 'cancelled' });
  });

  test('while the provider is away, charges and cancellations are unknown and change nothing', async () => {
    const provider = client(payments.url);
    const [charge, charged] = [order(), order()];
    await provider.charge(charged);
    await payments.behave({ away: true });
    expect(await outcomeOf(provider.charge(charge))).toBe('unknown');
    await expect(provider.cancel(charged.orderId)).rejects.toThrow(PaymentUnknown);
    expect(await payments.entry(charge.orderId)).toBeUndefined();
    expect(await payments.entry(charged.orderId)).toMatchObject({ status: 'charged' });
    await payments.behave({});
    expect(await provider.charge(charge)).toBe('approved');
  });

  test('shows its ledger page by page, newest first', async () => {
    const provider = client(payments.url);
    const charges = Array.from({ length: 5 }, () => order());
    for (const charge of charges) await provider.charge(charge);
    const ids = charges.map(({ orderId }) => orderId).reverse();
    const read = async (query: string) => {
      const { items, next } = await get(`${payments.url}/charges?${query}`, ledgerPage);
      return { ids: items.map(({ orderId }) => orderId), next };
    };
    expect(await read('limit=3')).toEqual({ ids: ids.slice(0, 3), next: ids[2] });
    expect(await read(`limit=2&after=${ids[2]}`)).toEqual({ ids: ids.slice(3), next: expect.anything() });
    expect(await read(`after=${(await payments.entries()).at(-1)?.orderId}`)).toEqual({ ids: [], next: null });
  });

  test.each([
    ['/charges/none', { amount: 1, currency: 'GBP' }, 404],
    [`/charges/${randomUUID()}`, { amount: -1, currency: 'GBP' }, 422],
    [`/charges/${randomUUID()}`, { amount: 1, currency: 'gbp' }, 422],
    [`/charges/${randomUUID()}`, { amount: 1 }, 422],
    [`/charges/${randomUUID()}`, 'x'.repeat(2 * 1024 * 1024), 413],
    ['/behaviour', { awy: true }, 422],
    ['/behaviour', { declineShare: 2 }, 422],
  ])('rejects an invalid request: PUT %s', async (path, body, status) => {
    const answer = await call(`${payments.url}${path}`, { ...jsonRequest(JSON.stringify(body)), method: 'PUT' });
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
  });

  test('kill -9 loses no charge and makes none that was not decided', async () => {
    await payments.behave({ respondLateMs: NEVER_MS });
    const before = await payments.underWay();
    const provider = client(payments.url, NEVER_MS);
    const [charged, refunded, undecided] = [order(), order(), order()];
    const unanswered = [charged, refunded].map((charge) => outcomeOf(provider.charge(charge)));
    for (const { orderId } of [charged, refunded])
      await eventually(() => payments.entry(orderId), { what: 'it is charged' });
    await payments.behave({ decideLateMs: NEVER_MS });
    await provider.cancel(refunded.orderId);
    unanswered.push(outcomeOf(provider.charge(undecided)));
    await underWay(before + 3);

    await payments.kill();
    expect(await Promise.all(unanswered)).toEqual(['unknown', 'unknown', 'unknown']);
    expect(await outcomeOf(provider.charge(charged))).toBe('unknown');
    await payments.restart();
    await payments.behave({ declineShare: 1 });
    expect(await provider.charge(charged)).toBe('approved');
    expect(await provider.charge(refunded)).toBe('declined');
    expect(await payments.entry(refunded.orderId)).toMatchObject({ status: 'refunded' });
    expect(await payments.entry(undecided.orderId)).toBeUndefined();
  });
});

describe('inside the process', () => {
  const open = async (dataDir: string) => {
    const provider = await openEmbeddedProvider({ dataDir, timeoutMs: TIMEOUT_MS, log });
    let closed: Promise<void> | undefined;
    const close = () => {
      closed ??= provider.close();
      return closed;
    };
    onTestFinished(close);
    return { ...provider, close };
  };

  test('its ledger outlives it', async () => {
    const dataDir = await freshFolder();
    const [charge, cancelled] = [order(), order()];
    const before = await open(dataDir);
    expect(await before.charge(charge)).toBe('approved');
    await before.cancel(cancelled.orderId);
    await before.close();

    const after = await open(dataDir);
    await expect(after.charge({ ...charge, amount: 1 })).rejects.toThrow(/charged with 1999 GBP/);
    expect(await after.charge(charge)).toBe('approved');
    expect(await after.charge(cancelled)).toBe('declined');
  });

  test('a ledger that is in use is not shared, and the error names PAYMENT_URL', async () => {
    const dataDir = await freshFolder();
    await open(dataDir);
    await expect(open(dataDir)).rejects.toThrow(/in use by another process.*PAYMENT_URL/);
    await expect(SimulatedProvider.start({ dataDir, port: 0, log })).rejects.toThrow(/in use by another process/);
  });

  test('stopping it hangs up on waiting clients at once', async () => {
    const dataDir = await freshFolder();
    const simulated = await SimulatedProvider.start({ dataDir, port: 0, behaviour: { decideLateMs: NEVER_MS }, log });
    onTestFinished(() => simulated.stop());
    const waiting = outcomeOf(client(simulated.url, NEVER_MS).charge(order()));
    const isWaiting = async () => (await call(`${simulated.url}/healthz`)).text.includes('"underWay":1');
    await eventually(isWaiting, { what: 'the charge is under way' });
    await simulated.stop();
    expect(await waiting).toBe('unknown');
  });

  test('the error for a port that is in use names the port', async () => {
    const dataDir = await freshFolder();
    const first = await SimulatedProvider.start({ dataDir, port: 0, log });
    onTestFinished(() => first.stop());
    const port = Number(new URL(first.url).port);
    await expect(SimulatedProvider.start({ dataDir: await freshFolder(), port, log })).rejects.toThrow(
      new RegExp(`port ${port} on 127\\.0\\.0\\.1 is in use: .*--port`),
    );
  });
});

describe('an unclear response', () => {
  async function answering(listener: RequestListener): Promise<PaymentProvider> {
    const server = createServer(listener);
    const port = await listen(server);
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    return client(`http://127.0.0.1:${port}/pay/`, 500);
  }

  test.each<[string, RequestListener]>([
    ['a 500', (_, response) => response.writeHead(500).end('{"outcome":"approved"}')],
    ['a 429', (_, response) => response.writeHead(429).end()],
    ['a redirect', (_, response) => response.writeHead(307, { location: '/elsewhere' }).end()],
    ['no JSON', (_, response) => response.end('approved')],
    ['another outcome', (_, response) => response.end('{"outcome":"pending"}')],
    ['a large one', (_, response) => response.end(`{"outcome":"approved","text":"${'x'.repeat(1024 * 1024)}"}`)],
    ['half an answer', (_, response) => response.writeHead(200, { 'content-length': 50 }).write('{"outcome":')],
    ['no response', () => undefined],
  ])('%s is unknown', async (_, listener) => {
    const provider = await answering(listener);
    expect(await outcomeOf(provider.charge(order()))).toBe('unknown');
    await expect(provider.cancel(randomUUID())).rejects.toThrow(PaymentUnknown);
  });

  test('a path in the URL is the prefix of every route', async () => {
    const charge = order();
    const asked: string[] = [];
    const provider = await answering((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.end('{"outcome":"approved"}');
    });
    expect(await provider.charge(charge)).toBe('approved');
    expect(asked).toEqual([`PUT /pay/charges/${charge.orderId}`]);
  });
});

describe('the ledger', () => {
  const open = async () => {
    const folder = await freshFolder();
    const ledger = await Ledger.open(folder);
    onTestFinished(() => ledger.close());
    return { ledger, journal: join(folder, 'journal.ndjson') };
  };

  test('concurrent equal charges share one decision', async () => {
    const { ledger } = await open();
    const charge = order();
    const decisions: ((approved: boolean) => void)[] = [];
    const decide = () => new Promise<boolean>((resolve) => decisions.push(resolve));
    const together = (count: number) => Promise.all(Array.from({ length: count }, () => ledger.charge(charge, decide)));
    const first = together(10);
    await eventually(() => decisions.length > 0, { what: 'it is to be decided' });
    decisions[0]?.(false);
    expect(await first).toEqual(Array(10).fill('declined'));
    const second = together(10);
    await eventually(() => decisions.length > 1, { what: 'it is to be decided again' });
    decisions[1]?.(true);
    expect(await second).toEqual(Array(10).fill('approved'));
    expect(await together(10)).toEqual(Array(10).fill('approved'));
    expect(decisions).toHaveLength(2);
  });

  test('of two concurrent amounts for one order, one is charged and the other rejected', async () => {
    const { ledger } = await open();
    const charge = order();
    const answers = await Promise.allSettled(
      [charge, { ...charge, amount: 1 }].map((each) => ledger.charge(each, async () => true)),
    );
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(ledger.page(10)).toMatchObject([{ orderId: charge.orderId, amount: 1_999 }]);
  });

  test('an outcome is on the disk before it is returned', async () => {
    const { ledger, journal } = await open();
    await Promise.all(
      Array.from({ length: 200 }, async () => {
        const charge = order();
        expect(await ledger.charge(charge, async () => true)).toBe('approved');
        // Read without a pause, in which it could still be written.
        expect(readFileSync(journal, 'utf8')).toContain(charge.orderId);
      }),
    );
  });
});

describe('the journal', () => {
  test('drops an incomplete last line, and appends after it', async () => {
    const folder = await freshFolder();
    const file = join(folder, 'journal.ndjson');
    const first = await Journal.open(file, () => undefined);
    await Promise.all([1, 2, 3].map((n) => first.append({ n, text: 'é\n' })));
    await first.close();
    await appendFile(file, '{"n":4,"te');

    const replayed: unknown[] = [];
    const second = await Journal.open(file, (record) => replayed.push(record));
    expect(replayed).toEqual([1, 2, 3].map((n) => ({ n, text: 'é\n' })));
    await second.append({ n: 5 });
    await second.close();
    expect(await readFile(file, 'utf8')).toMatch(/^(\{"n":[123],"text":"é\\n"\}\n){3}\{"n":5\}\n$/);
  });

  test('does not open if another line cannot be read, and names it', async () => {
    const file = join(await freshFolder(), 'journal.ndjson');
    await appendFile(file, '{"n":1}\n{"n":\n{"n":3}\n');
    await expect(Journal.open(file, () => undefined)).rejects.toThrow(/journal\.ndjson, line 2, cannot be read/);
  });
});

describe('a behaviour', () => {
  test('declines each n-th charge, or a share of charges', () => {
    const outcomes = (told: Told, random?: () => number) => {
      const approves = approvals(() => behaviour.parse(told), random);
      return Array.from({ length: 6 }, () => approves());
    };
    expect(outcomes({})).toEqual(Array(6).fill(true));
    expect(outcomes({ declineEvery: 3 })).toEqual([true, true, false, true, true, false]);
    expect(outcomes({ declineShare: 1 })).toEqual(Array(6).fill(false));
    const half = [0.1, 0.5, 0.9, 0.49, 0.51, 0];
    expect(outcomes({ declineShare: 0.5 }, () => half.shift() ?? 1)).toEqual([false, true, true, false, true, false]);
  });
});
