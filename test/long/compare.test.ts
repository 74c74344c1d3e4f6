import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { Comparison } from '../../demos/compare/run.ts';

const run = promisify(execFile);

test('compares three strategies: the same effects, and by far the fastest response with the bus', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-test-'));
  try {
    const svg = join(folder, 'compare.svg');
    const { stdout } = await run(
      process.execPath,
      ['dist/cli/main.js', 'compare', '--json', '--orders', '5', '--clients', '8', '--svg', svg],
      { env: { ...process.env, TMPDIR: folder } },
    );
    const { workMs, strategies, differences }: Comparison = JSON.parse(stdout);

    expect(strategies.map(({ strategy }) => strategy)).toEqual(['in sequence', 'in parallel', 'over the bus']);
    expect(differences).toEqual([]);
    const orders = 10 + 5 + 5 * 8; // warm-up, one client, eight clients
    for (const { effects } of strategies) {
      expect(effects).toMatchObject({
        orders,
        completed: orders,
        points: orders,
        coupons: orders,
        notifications: orders,
      });
      expect(effects.outcomes).toEqual(strategies[0]?.effects.outcomes);
      expect(effects.outcomes).toHaveLength(1);
    }

    const [sequence, parallel, bus] = strategies;
    if (!sequence || !parallel || !bus) throw new Error('not three strategies');
    // No machine is faster than the work itself.
    expect(sequence.responseMs.p50).toBeGreaterThanOrEqual(3 * workMs);
    expect(parallel.responseMs.p50).toBeGreaterThanOrEqual(workMs);
    expect(bus.completedMs.p50).toBeGreaterThanOrEqual(workMs);
    expect(bus.responseMs.p50).toBeLessThan(workMs);
    expect(parallel.responseMs.p50).toBeLessThan(sequence.responseMs.p50);
    expect(bus.responseMs.p50).toBeLessThan(parallel.responseMs.p50);
    expect(bus.completedMs.p50).toBeLessThan(sequence.completedMs.p50);

    const chart = await readFile(svg, 'utf8');
    expect(chart).toMatch(/^<svg [\s\S]*prefers-color-scheme: dark[\s\S]*<\/svg>\n$/);
    for (const { strategy } of strategies) expect(chart).toContain(`>${strategy}</text>`);
    expect(await readdir(folder)).toEqual(['compare.svg']);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
