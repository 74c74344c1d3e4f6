// `npm run journey`: counts the files that a reader has to read to follow one order through the system, and fails if
// they are too many. The system runs embedded in this process, on the local bus, under V8's coverage. A function counts
// if it ran between placing the order and its completion, and not while the system was idle before.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Session } from 'node:inspector/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startSluice } from '../dist/app/start.js';

const MAX_FILES = 26;
/** A file with fewer lines that ran is a helper: its name says enough to read on. */
const MIN_LINES = 5;
/** Exceeds the interval of each loop that runs without orders. */
const IDLE_MS = 6_000;
const COMPLETED_WITHIN_MS = 10_000;
const DIST = fileURLToPath(new URL('../dist/', import.meta.url));

/** The functions that ran since the last call, by file: from where to where in the file, as `start-end`. */
async function functionsThatRan(session) {
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const byFile = new Map();
  for (const { url, functions } of result) {
    const file = url.startsWith('file:') ? relative(DIST, fileURLToPath(url)) : '';
    if (!/^(app|cli|contracts|infra|services)\//.test(file)) continue;
    const ran = functions
      .map(({ ranges: [range] }) => range)
      .filter(({ count, startOffset }) => count > 0 && startOffset > 0); // the function at 0 is the module
    if (ran.length > 0)
      byFile.set(file, new Set(ran.map(({ startOffset, endOffset }) => `${startOffset}-${endOffset}`)));
  }
  return byFile;
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

/** Lines of the compiled file that the functions span. */
async function linesOf(file, functions) {
  const text = await readFile(join(DIST, file), 'utf8');
  const lineAt = (offset) => text.slice(0, offset).split('\n').length;
  const lines = new Set();
  for (const range of functions) {
    const [start, end] = range.split('-').map(Number);
    for (let line = lineAt(start); line <= lineAt(end); line++) lines.add(line);
  }
  return lines.size;
}

const dataDir = await mkdtemp(join(tmpdir(), 'sluice-journey-'));
const sluice = await startSluice({ env: { DATA_DIR: dataDir, PORT: '0', MQTT_PORT: '0', LOG_LEVEL: 'warn' } });
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
    const ofOrder = [...functions].filter((range) => !idle.get(file)?.has(range));
    if (ofOrder.length > 0) files.push({ file: file.replace(/js$/, 'ts'), lines: await linesOf(file, ofOrder) });
  }
  files.sort((a, b) => a.file.localeCompare(b.file));
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
