import { mkdtemp } from 'node:fs/promises';
import { Load } from './load.ts';
import { measureBurst, measureRoute, measureSustained, drain } from './measure.ts';
import { Meter } from './meter.ts';
import { startPeer } from './peer.ts';
import { summarizeProfile } from './profile.ts';
import { startSystem, type Mode } from './system.ts';
import { cpuTimes } from './cpu.ts';

const mode = process.argv[2] as Mode;
const seconds = Number(process.argv[3] ?? 30);
const profile = process.argv.includes('--profile');
const load = new Load();
const route = await startPeer('express');
const measured = async (w: number) => {
  const a = await cpuTimes({ r: route.pid });
  const r = await measureRoute(load, route.url, { warmUpSeconds: w, seconds: 6 });
  const b = await cpuTimes({ r: route.pid });
  const cpu = ((b.r ?? 0) - (a.r ?? 0)) / (r.perSecond * (w + 6));
  console.log('route', r, 'cpu ms per request', cpu);
  return { ...r, cpu };
};
const r = await measured(3);
const profileFolder = profile ? await mkdtemp('/tmp/sluice-prof-') : undefined;
const t0 = performance.now();
const system = await startSystem(mode, { profileFolder });
console.log('started in', performance.now() - t0, system.pids);
try {
  const meter = new Meter(system.url, Object.values(system.urls));
  await measureSustained(load, meter, system.url, { warmUpSeconds: 0, seconds: 8 });
  const already = await drain(load, meter);
  const from = process.hrtime.bigint();
  const c0 = await cpuTimes(system.pids); const tc = performance.now();
  const s = await measureSustained(load, meter, system.url, { warmUpSeconds: 0, seconds });
  const c1 = await cpuTimes(system.pids); const td = performance.now() - tc;
  const to = process.hrtime.bigint();
  console.log('sustained', s, 'ratio', s.completedPerSecond / r.perSecond);
  console.log('cpu share of one core', Object.fromEntries(Object.keys(c1).map((k) => [k, Math.round(((c1[k] ?? 0) - (c0[k] ?? 0)) / td * 100)])));
  const orders = s.completedPerSecond * seconds;
  const total = Object.keys(c1).map((k) => (c1[k] ?? 0) - (c0[k] ?? 0)).reduce((a, b) => a + b, 0);
  console.log('cpu ms per order', total / orders, 'by cpu: one order costs as much as so many route requests', total / orders / r.cpu);
  await drain(load, meter, already);
  if (!profile || process.argv.includes('--burst')) console.log('burst', await measureBurst(load, meter, system.url, 10000));
  console.log(await system.stopServices());
  if (profileFolder) {
    for (const name of Object.keys(system.urls)) {
      const p = await summarizeProfile(`${profileFolder}/${name}.cpuprofile`, from, to);
      const show = (xs: readonly { name: string; share: number }[]) => xs.slice(0, 25).map((x) => `  ${(x.share * 100).toFixed(1).padStart(5)} %  ${x.name}`).join('\n');
      console.log(`\n=== ${name}: busy ${(p.busy * 100).toFixed(0)} %\n modules (self)\n${show(p.modules)}\n functions (self)\n${show(p.functions)}\n functions (inclusive)\n${show(p.inclusive)}`);
    }
  }
} finally {
  await system.remove();
  await measured(1);
  await route.close();
  await load.close();
}
