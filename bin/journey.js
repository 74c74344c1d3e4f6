// `npm run journey`: counts the files that a reader has to read to follow one order through the system, and fails if
// they are too many. The system runs embedded in this process, on the local bus, under V8's coverage. A function counts
// if it ran between placing the order and its completion, and not while the system was idle before.
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Session } from 'node:inspector/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startSluice } from '../dist/app/start.js';

const MAX_FILES = 26;
/** Without it, the bundle has another form than Bundled expects. */
const PLACES_ORDERS = 'services/order/place-order.ts';
/** A file with fewer lines that ran is a helper: its name says enough to read on. */
const MIN_LINES = 5;
/** Exceeds the interval of each loop that runs without orders. */
const IDLE_MS = 6_000;
const COMPLETED_WITHIN_MS = 10_000;
const DIST = new URL('../dist/', import.meta.url).href;

/** The sources that a bundled file consists of: each begins at the line `// <its path>`. */
class Bundled {
  #text;
  #sources;

  constructor(file) {
    this.#text = readFileSync(file, 'utf8');
    this.#sources = [...this.#text.matchAll(/^\/\/ (\S+\.\w+)$/gm)].map(({ 1: path, index }) => ({ path, index }));
  }

  sourceAt(offset) {
    return this.#sources.findLast(({ index }) => index < offset)?.path ?? '';
  }

  lineAt(offset) {
    return this.#text.slice(0, offset).split('\n').length;
  }
}

const bundledFiles = new Map();
function bundled(file) {
  if (!bundledFiles.has(file)) bundledFiles.set(file, new Bundled(file));
  return bundledFiles.get(file);
}

/** The functions that ran since the last call, by source: each from where to where in its bundled file, as a key. */
async function functionsThatRan(session) {
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const bySource = new Map();
  for (const { url, functions } of result) {
    if (!url.startsWith(DIST)) continue;
    const file = bundled(fileURLToPath(url));
    const ran = functions
      .map(({ ranges: [range] }) => range)
      .filter(({ count, startOffset }) => count > 0 && startOffset > 0); // the function at 0 is the module
    for (const { startOffset, endOffset } of ran) {
      const source = file.sourceAt(startOffset);
      if (!/^(app|cli|contracts|infra|services)\//.test(source)) continue;
      if (!bySource.has(source)) bySource.set(source, new Map());
      bySource
        .get(source)
        .set(`${url} ${startOffset} ${endOffset}`, [file.lineAt(startOffset), file.lineAt(endOffset)]);
    }
  }
  return bySource;
}

async function placeAndFollow(url) {
  const order = { userId: 'reader', currency: 'GBP', items: [{ sku: 'MUG', quantity: 3, unitPrice: 1_999 }] };
  const headers = { 'content-type': 'application/json' };
  const placed = await fetch(`${url}/orders`, { method: 'POST', headers, body: JSON.stringify(order) });
  const path = placed.headers.get('location');
  for (const deadline = Date.now() + COMPLETED_WITHIN_MS; Date.now() < deadline; await delay(20)) {
    const { status } = await (await fetch(`${url}${path}`)).json();
    if (status === 'completed') return;
  }
  throw new Error(`${path} is not completed after ${COMPLETED_WITHIN_MS} ms`);
}

/** The number of lines that functions span, each from its first to its last one. */
function lineCount(functions) {
  const lines = new Set();
  for (const [first, last] of functions) for (let line = first; line <= last; line++) lines.add(line);
  return lines.size;
}

const dataDir = await mkdtemp(join(tmpdir(), 'sluice-journey-'));
const sluice = await startSluice({
  env: { DATA_DIR: dataDir, PORT: '0', MQTT_PORT: '0', LOG_LEVEL: 'warn', WARM_UP: 'off' },
});
try {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  await delay(IDLE_MS);
  const idle = await functionsThatRan(session);
  await placeAndFollow(sluice.url);
  const files = [];
  for (const [file, functions] of await functionsThatRan(session)) {
    const ofOrder = [...functions].filter(([key]) => !idle.get(file)?.has(key)).map(([, lines]) => lines);
    if (ofOrder.length > 0) files.push({ file, lines: lineCount(ofOrder) });
  }
  files.sort((a, b) => a.file.localeCompare(b.file));
  if (!files.some(({ file }) => file === PLACES_ORDERS)) throw new Error(`${PLACES_ORDERS} is not among the files`);
  const read = files.filter(({ lines }) => lines >= MIN_LINES);
  const helpers = files.filter(({ lines }) => lines < MIN_LINES);
  for (const { file, lines } of read) console.log(`${String(lines).padStart(5)}  ${file}`);
  console.log(`fewer than ${MIN_LINES} lines: ${helpers.map(({ file }) => file).join(', ')}`);
  console.log(`${read.length} files to read, at most ${MAX_FILES}; ${helpers.length} helpers`);
  if (read.length > MAX_FILES) process.exitCode = 1;
} finally {
  await sluice.stop();
  await rm(dataDir, { recursive: true });
}
