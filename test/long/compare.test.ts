import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { Comparison } from '../../demos/compare/run.ts';

const run = promisify(execFile);

test('compares three ways that end with the same effects, and the bus answers long before the others', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-test-'));
  try {
    const svg = join(folder, 'compare.svg');
    const { stdout } = await run(
      process.execPath,
      ['dist/cli/main.js', 'compare', '--json', '--orders', '5', '--clients', '8', '--svg', svg],
      { env: { ...process.env, TMPDIR: folder } },
    );
    const { workMs, ways, differences }: Comparison = JSON.parse(stdout);

    expect(ways.map(({ way }) => way)).toEqual(['one after the other', 'in parallel', 'over the bus']);
    expect(differences).toEqual([]);
    const orders = 10 + 5 + 5 * 8; // to warm up, by one client, by eight
    for (const { effects } of ways) {
      expect(effects).toMatchObject({
        orders,
        completed: orders,
        points: orders,
        coupons: orders,
        notifications: orders,
      });
      expect(effects.outcomes).toEqual(ways[0]?.effects.outcomes);
      expect(effects.outcomes).toHaveLength(1);
    }

    const [sequence, parallel, bus] = ways;
    if (!sequence || !parallel || !bus) throw new Error('three ways');
    // Work that takes time cannot be faster than that, however fast the machine.
    expect(sequence.answerMs.p50).toBeGreaterThanOrEqual(3 * workMs);
    expect(parallel.answerMs.p50).toBeGreaterThanOrEqual(workMs);
    expect(bus.completedMs.p50).toBeGreaterThanOrEqual(workMs);
    expect(bus.answerMs.p50).toBeLessThan(workMs);
    expect(parallel.answerMs.p50).toBeLessThan(sequence.answerMs.p50);
    expect(bus.answerMs.p50).toBeLessThan(parallel.answerMs.p50);
    expect(bus.completedMs.p50).toBeLessThan(sequence.completedMs.p50);

    const picture = await readFile(svg, 'utf8');
    expect(picture).toMatch(/^<svg [\s\S]*prefers-color-scheme: dark[\s\S]*<\/svg>\n$/);
    for (const { way } of ways) expect(picture).toContain(`>${way}</text>`);
    expect(await readdir(folder)).toEqual(['compare.svg']);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
