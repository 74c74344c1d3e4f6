// docs/add-a-service.md is followed to the letter in a copy of the project: its files are written, its changes applied,
// the types checked, and the new service packs and stops parcels.
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, test } from 'vitest';
import { Supervisor } from '../../demos/shared/child-process.ts';
import { serverFolder } from '../../demos/shared/folder.ts';
import type { ServiceReply } from '../../demos/shared/sluice-processes.ts';
import { type Copy, copyOfSources } from '../mutations/copy.ts';
import { placeOrder, postJson } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';

const run = promisify(execFile);

interface Block {
  readonly kind: string;
  readonly file: string;
  readonly text: string;
}

/** The page's code blocks that name a file. */
async function blocksOf(page: string): Promise<Block[]> {
  const blocks = page.matchAll(/^```(\w+) (\S+)\n([\s\S]*?)^```$/gm);
  return Array.from(blocks, ([, kind = '', file = '', text = '']) => ({ kind, file, text }));
}

/** Replaces the block's unchanged and removed lines, which must occur once, by its unchanged and added lines. */
function applyDiff(source: string, { file, text }: Block): string {
  const lines = text.split('\n').slice(0, -1);
  const side = (sign: '+' | '-') =>
    lines.flatMap((line) => (line.startsWith(' ') || line.startsWith(sign) ? [`${line.slice(1)}\n`] : [])).join('');
  const parts = source.split(side('-'));
  if (parts.length !== 2) throw new Error(`the change to ${file} does not apply:\n${text}`);
  return parts.join(side('+'));
}

/** Runs a tool in the copy; its output says what it found. */
async function check(tool: string, ...args: string[]): Promise<void> {
  await run(join(copy.root, 'node_modules/.bin', tool), args, { cwd: copy.root }).catch(
    ({ stdout, stderr }: { stdout: string; stderr: string }) => {
      throw new Error(`${tool} ${args.join(' ')}:\n${stdout}${stderr}`);
    },
  );
}

let copy: Copy;
let supervisor: Supervisor;
beforeAll(async () => {
  copy = await copyOfSources();
  supervisor = await Supervisor.open(await serverFolder('shipping'));
});
afterAll(async () => {
  await supervisor?.close();
  await copy?.remove();
});

test('the service of docs/add-a-service.md follows the orders', async () => {
  const page = await readFile(join(copy.root, 'docs/add-a-service.md'), 'utf8');
  for (const block of await blocksOf(page)) {
    const path = join(copy.root, block.file);
    await mkdir(dirname(path), { recursive: true });
    const text = block.kind === 'diff' ? applyDiff(await readFile(path, 'utf8'), block) : block.text;
    await writeFile(path, text);
  }
  const changed = ['services/shipping', 'app/start-services.ts', 'contracts'];
  await Promise.all([
    check('tsc', '--noEmit', '--project', 'tsconfig.build.json'),
    check('biome', 'check', '--vcs-enabled=false', ...changed),
  ]);

  const child = await supervisor.start({
    name: 'the system with shipping',
    args: ['--import', import.meta.resolve('tsx'), join(copy.root, 'demos/shared/sluice.child.ts')],
    env: { PATH: process.env.PATH ?? '', DATA_DIR: supervisor.folder, PORT: '0', MQTT_PORT: '0', LOG_FORMAT: 'json' },
  });
  const reply = await child.receive<ServiceReply>(60_000);
  if (!('readyAt' in reply)) throw new Error(JSON.stringify(reply));
  const at = reply.readyAt;

  // Not the tests' client: it knows only the routes of this version.
  const parcels = async () => (await fetch(`${at}/users/ann/parcels`)).text();
  const { id } = await placeOrder(at, 'ann');
  const shown = (status: string) => JSON.stringify({ items: [{ orderId: id, status }] });
  await eventually(async () => (await parcels()) === shown('packing'), { what: 'a parcel is packed' });
  await postJson(`${at}/orders/${id}/cancel`, {});
  await eventually(async () => (await parcels()) === shown('stopped'), { what: 'the parcel is stopped' });
}, 120_000);
