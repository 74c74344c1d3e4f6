// Compiles the program into dist/. `node bin/build.js` checks types and fails on a type error; `node bin/build.js
// --if-stale` compiles without that check, and only if a source is newer than dist/. Concurrent builds are safe: each
// one compiles into a folder of its own and then moves it to dist/.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
/** Its modification time is the start of the build. */
const stamp = (folder) => join(folder, '.built');
const sources = ['contracts', 'services', 'infra', 'simulators', 'app', 'demos', 'cli'].map((name) => join(root, name));
const settings = ['package.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) => join(root, name));

/** Includes folders, whose time changes when a file is removed. */
function newestIn(path) {
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(stats.mtimeMs, ...readdirSync(path).map((name) => newestIn(join(path, name))));
}

/** Whether dist/ is missing or older than its sources. False without sources: a container image has only dist/. */
export function isStale() {
  const present = sources.filter(existsSync);
  if (present.length === 0) return false;
  if (!existsSync(stamp(dist))) return true;
  return Math.max(...[...present, ...settings].map(newestIn)) >= statSync(stamp(dist)).mtimeMs;
}

/** Throws if the sources do not compile, and then leaves dist/ unchanged. */
export function build({ checkTypes }) {
  const startedAt = new Date();
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  if (!existsSync(compiler)) throw new Error('TypeScript is not installed: run `npm ci` first (without --omit=dev)');
  const next = join(root, `.dist-${process.pid}`);
  try {
    const options = ['--project', 'tsconfig.build.json', '--outDir', next, '--noEmitOnError'];
    if (!checkTypes) options.push('--noCheck');
    const { status } = spawnSync(process.execPath, [compiler, ...options], { cwd: root, stdio: ['ignore', 2, 2] });
    if (status !== 0) throw new Error('the sources do not compile');
    // Files other than TypeScript are read at run time: SQL, HTML.
    const isAsset = (path) => extname(path) !== '.ts';
    for (const source of sources.filter(existsSync)) {
      cpSync(source, source.replace(root, next), { recursive: true, filter: isAsset });
    }
    writeFileSync(stamp(next), '');
    utimesSync(stamp(next), startedAt, startedAt);
    replaceDist(next);
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
}

function replaceDist(next) {
  const old = `${next}-old`;
  for (let attempt = 1; ; attempt++) {
    try {
      if (existsSync(dist)) renameSync(dist, old);
      renameSync(next, dist);
      return;
    } catch (error) {
      // Another build replaced dist/ between these two steps. Ours may be newer, so it tries again.
      if (attempt === 100) throw error;
    } finally {
      rmSync(old, { recursive: true, force: true });
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const ifStale = process.argv.includes('--if-stale');
  try {
    if (!ifStale || isStale()) build({ checkTypes: !ifStale });
  } catch (error) {
    console.error(`build: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
