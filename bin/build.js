// Bundles the program and its dependencies into dist/. A process that starts then reads about sixty files instead of
// twelve hundred, which takes a quarter of the time (docs/performance.md). `node bin/build.js` checks types and fails on
// a type error; `node bin/build.js --if-stale` bundles without that check, and only if a source is newer than dist/.
// Concurrent builds are safe: each one bundles into a folder of its own and then moves it to dist/. A process that
// runs meanwhile keeps the files that it has loaded; the names of the others change with their content.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addNewDatabase } from './new-database.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
/** Its modification time is the start of the build; it holds the digest of the dependencies. */
const stamp = (folder) => join(folder, '.built');
const sources = ['contracts', 'services', 'infra', 'simulators', 'app', 'demos', 'cli'].map((name) => join(root, name));
/** What the result depends on, besides the sources and the dependencies. */
const settings = ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'bin/build.js', 'bin/new-database.js'].map(
  (name) => join(root, name),
);
/** The files that Node.js runs: as a command, as a thread, as a child process, and in bin/journey.js. */
const entries = ['cli/main', 'app/worker-thread', 'demos/shared/sluice.child', 'app/start'];
/** They read files of their own package when they run, or are optional and not installed. */
const external = [
  '@electric-sql/pglite',
  'classic-level',
  'msgpackr-extract',
  'pg-native',
  'bufferutil',
  'utf-8-validate',
];

/** Includes folders, whose time changes when a file is removed. */
function newestIn(path) {
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(stats.mtimeMs, ...readdirSync(path).map((name) => newestIn(join(path, name))));
}

/**
 * Of the installed dependencies that are bundled. It does not change if the others are removed (`npm prune --omit=dev`).
 * Empty if another program than npm installed them.
 */
function digestOfDependencies() {
  const list = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(list)) return '';
  const { packages } = JSON.parse(readFileSync(list, 'utf8'));
  const versions = Object.entries(packages)
    .filter(([, { dev, optional, devOptional }]) => !dev && !optional && !devOptional)
    .map(([path, { version }]) => `${path}@${version}`);
  return createHash('sha256').update(versions.join('\n')).digest('hex');
}

/**
 * Whether dist/ is missing, older than its sources, or made of other dependencies. False without sources: a container
 * image has only dist/.
 */
export function isStale() {
  const present = sources.filter(existsSync);
  if (present.length === 0) return false;
  if (!existsSync(stamp(dist))) return true;
  if (readFileSync(stamp(dist), 'utf8') !== digestOfDependencies()) return true;
  return Math.max(...[...present, ...settings].map(newestIn)) >= statSync(stamp(dist)).mtimeMs;
}

/** Rejects if the sources do not compile, and then leaves dist/ unchanged. */
export async function build({ checkTypes }) {
  const startedAt = new Date();
  const next = join(root, `.dist-${process.pid}`);
  removeAbandoned();
  if (checkTypes) check();
  try {
    await bundle(next);
    // Files other than TypeScript are read at run time: SQL, HTML.
    const isAsset = (path) => extname(path) !== '.ts';
    for (const source of sources.filter(existsSync)) {
      cpSync(source, source.replace(root, next), { recursive: true, filter: isAsset });
    }
    addNewDatabase(join(next, 'infra/database'), join(dist, 'infra/database'));
    writeFileSync(stamp(next), digestOfDependencies());
    utimesSync(stamp(next), startedAt, startedAt);
    replaceDist(next);
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
}

function check() {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const options = ['--project', 'tsconfig.build.json', '--noEmit'];
  if (!existsSync(compiler)) throw new Error('TypeScript is not installed: run `npm ci` first (without --omit=dev)');
  const { status } = spawnSync(process.execPath, [compiler, ...options], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('the sources do not compile');
}

async function bundle(folder) {
  // Only here, because every start of bin/sluice.js imports this file, also where only the program is installed.
  const { rolldown } = await import('rolldown').catch((error) => {
    if (existsSync(join(root, 'node_modules/rolldown'))) throw error; // such as: without the binary of this platform
    throw new Error('Rolldown is not installed: run `npm ci` first (without --omit=dev)', { cause: error });
  });
  const bundled = await rolldown({
    input: Object.fromEntries(entries.map((name) => [name, join(root, `${name}.ts`)])),
    cwd: root,
    platform: 'node',
    tsconfig: join(root, 'tsconfig.json'),
    external: (id) => external.some((name) => id === name || id.startsWith(`${name}/`)),
    plugins: [ownUrls],
  });
  try {
    await bundled.write({
      dir: folder,
      sourcemap: true,
      sourcemapExcludeSources: true,
      chunkFileNames: 'chunks/[name]-[hash].js',
    });
  } finally {
    await bundled.close();
  }
}

const OWN_URL = /__OWN_URL__\("([^"]+)"\)/g;

/** `import.meta.url` remains the URL that the module has without bundling, so that it finds its assets in dist/. */
const ownUrls = {
  name: 'own-urls',
  transform: {
    filter: { id: /\.ts$/, code: 'import.meta.url' },
    handler(code, id) {
      const path = relative(root, id).replaceAll('\\', '/').replace(/ts$/, 'js');
      if (path.startsWith('node_modules/')) return null;
      return { code: code.replaceAll('import.meta.url', `__OWN_URL__("${path}")`), map: null };
    },
  },
  renderChunk(code, { fileName }) {
    const toRoot = '../'.repeat(fileName.split('/').length - 1) || './';
    return {
      code: code.replaceAll(OWN_URL, (_, path) => `new URL("${toRoot}${path}", import.meta.url).href`),
      map: null, // no line changes
    };
  },
};

/** What builds that were killed have left. */
function removeAbandoned() {
  for (const name of readdirSync(root)) {
    const [, pid] = /^\.dist-(\d+)(-old)?$/.exec(name) ?? [];
    if (pid && (Number(pid) === process.pid || !isRunning(Number(pid))))
      rmSync(join(root, name), { recursive: true, force: true });
  }
}

function isRunning(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
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
    if (!ifStale || isStale()) await build({ checkTypes: !ifStale });
  } catch (error) {
    console.error(`build: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
