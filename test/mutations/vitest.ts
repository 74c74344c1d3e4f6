// Runs tests of a source tree in another process and reads the result of each.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startGuard } from '../../demos/shared/guard.ts';
import type { RanTest, Report } from './reporter.ts';

/** From SIGINT to SIGKILL: the tests need time to stop the servers that they started. */
const END_WITHIN_MS = 15_000;

export interface Run {
  /** The source tree. */
  readonly root: string;
  /** Relative to `root`. */
  readonly files: readonly string[];
  /** A regular expression for the tests' full names. */
  readonly pattern: string;
  readonly env: Readonly<Record<string, string>>;
  /** Whether to end with the first failure. */
  readonly bail: boolean;
  readonly withinMs: number;
  /** Aborts the run. */
  readonly signal: AbortSignal;
}

/** Resolves with the tests that ran to the end; skipped ones are left out. Rejects if there is no report. */
export async function runTests({
  root,
  files,
  pattern,
  env,
  bail,
  withinMs,
  signal,
}: Run): Promise<readonly RanTest[]> {
  const report = join(root, `.report-${process.pid}.json`);
  const options = ['--reporter=./test/mutations/reporter.ts', '--cache=false', ...(bail ? ['--bail=1'] : [])];
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  // The tests end with this process, even if it is killed.
  const guard = await startGuard('[ -z "$last" ] || kill -s KILL -- "-$last"');
  const child = spawn(process.execPath, [vitest, 'run', ...files, '-t', pattern, ...options], {
    cwd: root,
    env: { ...process.env, ...env, MUTATIONS_REPORT: report },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // its own process group, so that all of it can be killed, and Ctrl-C does not reach it
  });
  guard.tell(String(child.pid ?? ''));
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_000);
    });
  const ended = once(child, 'close');
  const late = AbortSignal.any([signal, AbortSignal.timeout(withinMs)]);
  const onLate = () => void end(child, ended);
  late.addEventListener('abort', onLate);
  try {
    if (late.aborted) onLate();
    await ended;
    guard.tell(''); // from here on another process may get this id
    if (late.aborted) throw new Error(signal.aborted ? 'interrupted' : `not done within ${withinMs / 1_000} s`);
    const text = await readFile(report, 'utf8').catch(() => {
      throw new Error(`no test ran\n${output}`);
    });
    const { tests, problems } = JSON.parse(text) as Report;
    if (tests.length === 0) throw new Error(['no test ran', ...(problems.length > 0 ? problems : [output])].join('\n'));
    return tests;
  } finally {
    late.removeEventListener('abort', onLate);
    await Promise.all([guard.close(), rm(report, { force: true })]);
  }
}

async function end(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  const signalGroup = (name: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name);
    } catch {
      // The group has ended.
    }
  };
  signalGroup('SIGINT');
  const timer = setTimeout(() => signalGroup('SIGKILL'), END_WITHIN_MS);
  await ended;
  clearTimeout(timer);
}
