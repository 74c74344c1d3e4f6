// Reads the profiles of `node --cpu-prof`: where a process spent its time, by function and by module.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Window } from './interval.ts';

/** https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile; times in microseconds. */
interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
  readonly startTime: number;
}
interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

export interface Share {
  readonly name: string;
  /** Of the process's busy time, from 0 to 1. */
  readonly share: number;
}

interface ProfileSummary {
  /** The share of its running time in which the process was busy. */
  readonly busy: number;
  /** Each without the functions it calls, largest first. */
  readonly functions: readonly Share[];
  readonly modules: readonly Share[];
  /** Functions with all functions they call, largest first. */
  readonly inclusive: readonly Share[];
}

/** By phase and process. */
export type Profiles = Readonly<Record<string, Readonly<Record<string, ProfileSummary>>>>;

/** Summarizes the profiles of the named processes in `folder`, by phase. */
export async function summarizePhases(
  folder: string,
  processes: readonly string[],
  phases: Readonly<Record<string, Window>>,
): Promise<Profiles> {
  const profiles: Record<string, Record<string, ProfileSummary>> = {};
  for (const [phase, window] of Object.entries(phases)) {
    profiles[phase] = {};
    for (const name of processes) {
      profiles[phase][name] = await summarizeProfile(join(folder, `${name}.cpuprofile`), window);
    }
  }
  return profiles;
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const IDLE = '(idle)';

/** Summarizes the part of a profile that is in the window. */
async function summarizeProfile(file: string, [begin, end]: Window): Promise<ProfileSummary> {
  const { nodes, samples, timeDeltas, startTime } = JSON.parse(await readFile(file, 'utf8')) as CpuProfile;
  const byId = new Map(nodes.map((node) => [node.id, { ...node, name: functionOf(node), module: moduleOf(node) }]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const functions = new Map<string, number>();
  const modules = new Map<string, number>();
  const inclusive = new Map<string, number>();
  let [at, busyTime, totalTime] = [startTime, 0, 0];
  samples.forEach((id, index) => {
    const delta = timeDeltas[index] ?? 0;
    at += delta;
    const node = byId.get(id);
    if (at < begin || at > end || !node) return;
    totalTime += delta;
    if (node.callFrame.functionName === IDLE) return;
    busyTime += delta;
    add(functions, node.name, delta);
    add(modules, node.module, delta);
    const stack = new Set<string>(); // a function that is on the stack twice counts once
    for (let above: number | undefined = id; above !== undefined; above = parents.get(above))
      stack.add(byId.get(above)?.name ?? '');
    for (const name of stack) add(inclusive, name, delta);
  });

  const ranked = (times: ReadonlyMap<string, number>): Share[] =>
    [...times].map(([name, time]) => ({ name, share: time / busyTime })).sort((a, b) => b.share - a.share);
  for (const frame of ['(root)', '(program)', '(garbage collector)']) inclusive.delete(frame);
  return {
    busy: busyTime / totalTime,
    functions: ranked(functions),
    modules: ranked(modules),
    inclusive: ranked(inclusive),
  };
}

const add = (times: Map<string, number>, name: string, time: number) => times.set(name, (times.get(name) ?? 0) + time);

function functionOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  if (url === '') return functionName || '(native)';
  if (url.startsWith('wasm:')) return 'WebAssembly (PGlite)';
  return `${functionName || '(anonymous)'} ${shortOf(url)}:${lineNumber + 1}`;
}

/** A package, a file of this repository, or a part of Node.js. */
function moduleOf({ callFrame: { functionName, url } }: ProfileNode): string {
  if (url === '') return functionName.startsWith('(') ? functionName : '(native)';
  if (url.startsWith('wasm:')) return 'WebAssembly (PGlite)';
  if (url.startsWith('node:')) return url.split('/').slice(0, 2).join('/');
  return packageOf(url) ?? shortOf(url);
}

const packageOf = (url: string) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];

function shortOf(url: string): string {
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  return path.startsWith(ROOT) ? path.slice(ROOT.length) : path.replace(/.*\/node_modules\//, '');
}
