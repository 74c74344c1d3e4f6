// Warm-ups before the openings of sales, by a clock that the tests move.
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseConfig } from '../../app/config.ts';
import type { Database } from '../../infra/database/port.ts';
import { WarmUp } from '../../infra/http/warm-up.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { OpeningTimer } from '../../services/flash-sale/opening-timer.ts';
import { warmUpPurchases } from '../../services/flash-sale/warm-up.ts';

vi.mock('../../services/flash-sale/warm-up.ts', () => ({ warmUpPurchases: vi.fn(async () => ({})) }));

const DAY_MS = 24 * 3_600_000;

/** By the clock of the test, as the others. */
let openings: number[];
let warmedAt: number[];
let messages: string[];
let isDatabaseAway: boolean;
let newTimer: (polls: boolean) => OpeningTimer;
/** Of an embedded system. */
let timer: OpeningTimer;
let startedAt: number;
const now = () => performance.now() - startedAt;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  [openings, warmedAt, messages, isDatabaseAway] = [[], [], [], false];
  startedAt = performance.now();
  const log = pino({}, { write: (line) => void messages.push(JSON.parse(line).msg) });
  const warmUp = new WarmUp(async () => warmedAt.push(now()), log);
  newTimer = (polls) =>
    new OpeningTimer({
      warmUp: () => warmUp.run(),
      polls,
      readNext: async (afterMs) => {
        if (isDatabaseAway) throw new Error('no database');
        const next = Math.min(...openings.map((opensAt) => opensAt - now()).filter((opensInMs) => opensInMs > afterMs));
        return Number.isFinite(next) ? next : undefined;
      },
      log,
    });
  timer = newTimer(false);
});
afterEach(() => {
  vi.useRealTimers();
});

const advanceTo = (time: number) => vi.advanceTimersByTimeAsync(time - now());
const tenSecondsBefore = (opensAt: number) => opensAt - 10_000;

describe('a process warms up ten seconds before', () => {
  test('each opening of a stored sale, whenever the sale was created', async () => {
    openings = [3 * DAY_MS, 3 * DAY_MS + 90_000, 4 * DAY_MS];
    timer.start();
    await advanceTo(5 * DAY_MS);
    expect(warmedAt).toEqual(openings.map(tenSecondsBefore));
  });

  test('an opening that is farther away than the longest timer', async () => {
    openings = [60 * DAY_MS];
    timer.start();
    await advanceTo(61 * DAY_MS);
    expect(warmedAt).toEqual([2 ** 31 - 1, 2 * (2 ** 31 - 1), 60 * DAY_MS - 10_000]);
  });

  test('the opening of a sale that was created here, even if it opens before the others', async () => {
    openings = [2 * DAY_MS];
    timer.start();
    await advanceTo(1_000);
    openings.push(DAY_MS);
    timer.expect(DAY_MS - now());
    timer.plan();
    await advanceTo(3 * DAY_MS);
    expect(warmedAt).toEqual([1_000, tenSecondsBefore(DAY_MS), tenSecondsBefore(2 * DAY_MS)]);
  });

  test('the opening of a sale that it did not read, once it got an early purchase', async () => {
    timer.start();
    await advanceTo(0);
    expect(vi.getTimerCount()).toBe(0);
    openings = [DAY_MS];
    for (let purchase = 0; purchase < 1_000; purchase++) timer.expect(DAY_MS + purchase);
    expect(vi.getTimerCount()).toBe(1);
    await advanceTo(2 * DAY_MS);
    expect(warmedAt).toEqual([0, tenSecondsBefore(DAY_MS)]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a gateway among others', () => {
  let gateway: OpeningTimer;
  beforeEach(async () => {
    gateway = newTimer(true);
    gateway.start();
    await advanceTo(1);
  });
  afterEach(() => gateway.stop());

  test('warms up ten seconds before the opening of a sale that another one created', async () => {
    await advanceTo(1_000);
    openings = [60_000, 200_000];
    await advanceTo(300_000);
    expect(warmedAt).toEqual(openings.map(tenSecondsBefore));
  });

  test('warms up at once if the sale opens sooner, but not in its last three seconds', async () => {
    openings = [9_000];
    await advanceTo(100_000);
    expect(warmedAt).toEqual([2_000]);
    openings = [107_000];
    await advanceTo(200_000);
    expect(warmedAt).toEqual([2_000, 102_000]);
    openings = [202_500];
    await advanceTo(300_000);
    expect(warmedAt).toEqual([2_000, 102_000]);
  });

  test('reads the openings again after an outage of the database', async () => {
    isDatabaseAway = true;
    await advanceTo(30_000);
    expect(warmedAt).toEqual([]);
    isDatabaseAway = false;
    openings = [60_000];
    await advanceTo(61_000);
    expect(warmedAt).toEqual([50_000]);
  });
});

test.each([
  { opensInMs: 9_000, warmedAt: [0] },
  { opensInMs: 3_000, warmedAt: [] },
])('a sale that opens $opensInMs ms after its creation causes warm-ups at these times: $warmedAt', async (sale) => {
  openings = [sale.opensInMs];
  timer.expect(sale.opensInMs);
  timer.plan();
  await advanceTo(DAY_MS);
  expect(warmedAt).toEqual(sale.warmedAt);
});

test('a process that has stopped does not warm up', async () => {
  openings = [DAY_MS];
  timer.start();
  await advanceTo(1_000);
  openings.push(DAY_MS / 2);
  timer.plan();
  await timer.stop();
  await advanceTo(2 * DAY_MS);
  expect(warmedAt).toEqual([]);
});

test('if the next opening cannot be read, the log says so, and it is read again when a sale is created', async () => {
  isDatabaseAway = true;
  timer.start();
  await advanceTo(1_000);
  expect(messages).toEqual(['no warm-up before the next sale: its opening is unknown']);
  isDatabaseAway = false;
  openings = [DAY_MS];
  timer.plan();
  await advanceTo(DAY_MS);
  expect(warmedAt).toEqual([tenSecondsBefore(DAY_MS)]);
});

test('the flash-sale service warms up its purchases', async () => {
  const query = async () => [{ opensInMs: 60_000 - now() }];
  const service = flashSaleService({
    settings: parseConfig({}),
    database: { kind: 'postgres', background: { query } } as unknown as Database,
    outbox: new Outbox('sluice_flash_sale'),
    metrics: new Metrics({ process: false }),
    log: pino({ level: 'silent' }),
    wakeWorker: () => undefined,
    queues: undefined,
  });
  for (const loop of service.webLoops ?? []) loop.start();
  await advanceTo(49_999);
  expect(warmUpPurchases).not.toHaveBeenCalled();
  await advanceTo(50_000);
  expect(warmUpPurchases).toHaveBeenCalledOnce();
  await Promise.all((service.webLoops ?? []).map((loop) => loop.stop()));
});
