import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PGlite } from '@electric-sql/pglite';
import { expect, test } from 'vitest';
import type { Summary } from '../../demos/flash-sale/summary.ts';
import { embedded } from '../service/support/systems.ts';

const run = promisify(execFile);
const sluice = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  run(process.execPath, ['dist/cli/main.js', 'flash-sale', ...args], {
    env: { PATH: process.env.PATH, ...env },
    maxBuffer: 16 * 1024 * 1024,
  });

/** On a slow machine the queue drains slowly; buyers must not leave before the stock is sold. */
const untilSoldOut = ['--patience', '50'];

/** Independent of the service's own queries: its totals, and the sums over its tickets and orders. */
const TOTALS = `SELECT s.stock, s.remaining, s.held, s.sold, s.queued, s.admitted, s.released,
    count(t.*) AS tickets, count(DISTINCT t.user_id) AS users, count(DISTINCT t.number) AS numbers,
    min(t.number) AS first, max(t.number) AS last,
    count(*) FILTER (WHERE t.status = 'ordered') AS ordered,
    count(DISTINCT t.order_id) AS order_ids, count(DISTINCT o.id) AS orders
  FROM sluice_flash_sale.sales s
  LEFT JOIN sluice_flash_sale.tickets t ON t.sale_id = s.id
  LEFT JOIN sluice_order.orders o ON o.id = t.order_id AND o.user_id = t.user_id
  WHERE s.id = $1 GROUP BY s.id`;

async function readTotals(dataDir: string, saleId: string): Promise<Record<string, number>> {
  const database = await PGlite.create({ dataDir: join(dataDir, 'database') });
  try {
    const { rows } = await database.query<Record<string, unknown>>(TOTALS, [saleId]);
    return Object.fromEntries(Object.entries(rows[0] ?? {}).map(([name, value]) => [name, Number(value)]));
  } finally {
    await database.close();
  }
}

test('the counts of the simulator equal those in the database', async () => {
  const system = await embedded.start();
  try {
    const [process] = system.processes('flash-sale');
    if (!process) throw new Error('no process runs the service');
    const { stdout } = await sluice(
      [...'--json --buyers 1500 --stock 100 --queue 40 --drain 50 --seconds 3'.split(' '), ...untilSoldOut],
      { SLUICE_URL: process.url },
    );
    const summary: Summary = JSON.parse(stdout);
    await process.stop();
    const totals = await readTotals(String(system.dataDir), summary.saleId);

    // The whole stock is sold, to as many different users, each with an order of their own.
    expect(totals).toEqual({
      stock: 100,
      remaining: 0,
      held: 0,
      sold: 100,
      queued: 0,
      admitted: 100,
      released: 0,
      tickets: 100,
      users: 100,
      numbers: 100,
      first: 1,
      last: 100,
      ordered: 100,
      order_ids: 100,
      orders: 100,
    });
    const { buyers, requests, tickets, sale } = summary;
    expect(buyers.admitted).toBe(totals.users);
    expect(tickets).toEqual({
      distinct: totals.tickets,
      shared: 0,
      buyersWithTwo: 0,
      ordered: totals.ordered,
      released: totals.released,
      unfinished: 0,
      orders: totals.orders,
    });
    expect(sale.stock).toEqual({ initial: totals.stock, remaining: 0, held: 0, sold: totals.sold });
    expect(sale.counts).toMatchObject({
      admitted: totals.admitted,
      ordered: totals.ordered,
      released: totals.released,
    });
    expect(summary.equations.filter(({ holds }) => !holds)).toEqual([]);

    // Every buyer was admitted or told why not.
    const rejected = Object.values(buyers.rejected).reduce((sum, count) => sum + count, 0);
    expect(buyers).toMatchObject({ total: 1_500, withErrors: 0 });
    expect(buyers.admitted + rejected).toBe(1_500);
    expect(requests.responses['queue-full']).toBeGreaterThan(0);
    expect(requests.responses['sold-out']).toBeGreaterThan(0);
    expect(summary.longestQueue).toBe(40);
  } finally {
    await system.remove();
  }
}, 180_000);

test('starts a system of its own without --url, writes the reports, and leaves nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-test-'));
  try {
    const report = join(folder, 'sale.html');
    const svg = join(folder, 'sale.svg');
    const settings = '--buyers 300 --stock 30 --queue 20 --drain 40 --seconds 1'.split(' ');
    const { stdout, stderr } = await sluice([...settings, ...untilSoldOut, '--report', report, '--svg', svg], {
      TMPDIR: folder,
    });
    expect(stderr).toMatch(/starting an embedded system/);
    expect(stdout).toContain('300 buyers for 30 units; a queue of 20, drained at 40/s; seed 7');
    expect(stdout).toContain('30 = 0 remaining + 0 held + 30 sold');
    expect(stdout).not.toContain('DOES NOT HOLD');
    expect(await readFile(report, 'utf8')).toContain('Every equation holds.');
    expect(await readFile(svg, 'utf8')).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
    expect((await readdir(folder)).sort()).toEqual(['sale.html', 'sale.svg']);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 180_000);

test('fails with one line that says what to do if no server answers', async () => {
  await expect(sluice(['--url', 'http://127.0.0.1:1'])).rejects.toMatchObject({
    code: 1,
    stdout: '',
    stderr: 'error: cannot reach http://127.0.0.1:1: is `npm start` running?\n',
  });
});

test.each([
  [['--buyers', '0'], /--buyers.*an integer from 1 to 200000/],
  [['--seconds', 'soon'], /--seconds.*a number from 0.1 to 3600/],
  [['--queue', '1000001'], /--queue.*an integer from 1 to 1000000/],
  [['--url', 'ftp://here'], /--url.*http:\/\/ or https:\/\//],
])('names the allowed values: %j', async (args, message) => {
  await expect(sluice(args)).rejects.toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
});
