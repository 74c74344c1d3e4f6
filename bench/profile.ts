// Reads the profiles of `node --cpu-prof`: where a process spent its time, by function and by module.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Window } from './flood.ts';

/** https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile; times in microseconds. */
interface CpuProfile {
  readonly nodes: readonly { id: number; callFrame: CallFrame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
  readonly startTime: number;
}
type CallFrame = Readonly<{ functionName: string; url: string; lineNumber: number }>;

type Summary = ReturnType<typeof summarize>;
/** By phase and process. */
export type Profiles = Readonly<Record<string, Readonly<Record<string, Summary>>>>;

/** Summarizes the profiles of the named processes in `folder`, by phase. */
export async function summarizePhases(
  folder: string,
  processes: readonly string[],
  phases: Readonly<Record<string, Window>>,
): Promise<Profiles> {
  const profiles: Record<string, Record<string, Summary>> = {};
  for (const name of processes) {
    const profile = JSON.parse(await readFile(join(folder, `${name}.cpuprofile`), 'utf8')) as CpuProfile;
    for (const [phase, window] of Object.entries(phases))
      profiles[phase] = { ...profiles[phase], [name]: summarize(profile, window) };
  }
  return profiles;
}

/** Adds times by name. */
class Times {
  readonly #times = new Map<string, number>();

  add(name: string, time: number): void {
    this.#times.set(name, (this.#times.get(name) ?? 0) + time);
  }

  /** As shares of `total`, from 0 to 1, largest first. */
  shares(total: number): { name: string; share: number }[] {
    return Array.from(this.#times, ([name, time]) => ({ name, share: time / total })).sort((a, b) => b.share - a.share);
  }
}

/** The part of a profile that is in the window. */
function summarize({ nodes, samples, timeDeltas, startTime }: CpuProfile, [begin, end]: Window) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const [functions, modules] = [new Times(), new Times()];
  let [at, busyTime, totalTime] = [startTime, 0, 0];
  samples.forEach((id, index) => {
    const delta = timeDeltas[index] ?? 0;
    at += delta;
    const frame = frames.get(id);
    if (at < begin || at > end || !frame) return;
    totalTime += delta;
    if (frame.functionName === '(idle)') return;
    busyTime += delta;
    functions.add(functionOf(frame), delta);
    modules.add(moduleOf(frame), delta);
  });
  return {
    /** The share of its running time in which the process was busy. Of the busy time are the following shares. */
    busy: busyTime / totalTime,
    /** Each without the functions it calls. */
    functions: functions.shares(busyTime),
    modules: modules.shares(busyTime),
  };
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const WASM = 'WebAssembly (PGlite)';

function functionOf({ functionName, url, lineNumber }: CallFrame): string {
  if (url === '') return functionName || '(native)';
  if (url.startsWith('wasm:')) return WASM;
  return `${functionName || '(anonymous)'} ${shortOf(url)}:${lineNumber + 1}`;
}

/** A package, a file of this repository, or a part of Node.js. */
function moduleOf({ functionName, url }: CallFrame): string {
  if (url === '') return functionName.startsWith('(') ? functionName : '(native)';
  if (url.startsWith('wasm:')) return WASM;
  if (url.startsWith('node:')) return url.split('/').slice(0, 2).join('/');
  return packageOf(url) ?? shortOf(url);
}

const packageOf = (url: string) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];

function shortOf(url: string): string {
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  return path.startsWith(ROOT) ? path.slice(ROOT.length) : path.replace(/.*\/node_modules\//, '');
}
