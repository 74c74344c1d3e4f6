// Runs tests of a source tree in a process of their own and reads what became of each.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startGuard } from '../../demos/shared/guard.ts';
import type { RanTest, Report } from './reporter.ts';

/** Between asking a run to end and killing it: servers that tests started want to be ended by them. */
const END_WITHIN_MS = 15_000;

export interface Run {
  /** The source tree. */
  readonly root: string;
  /** Relative to it. */
  readonly files: readonly string[];
  /** On the tests' full names. */
  readonly pattern: string;
  readonly env: Readonly<Record<string, string>>;
  /** End with the first test that fails. */
  readonly bail: boolean;
  readonly withinMs: number;
  /** Ends the run. */
  readonly signal: AbortSignal;
}

/** Tests that ran to their end: what was skipped or never began is not among them. Rejects where there is no report. */
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
  // Whatever becomes of this process, the tests end with it.
  const guard = await startGuard('[ -z "$last" ] || kill -s KILL -- "-$last"');
  const child = spawn(process.execPath, [vitest, 'run', ...files, '-t', pattern, ...options], {
    cwd: root,
    env: { ...process.env, ...env, MUTATIONS_REPORT: report },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a process group of its own: all of it is ended, and Ctrl-C reaches it only from here
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
    guard.tell(''); // by now the number may be someone else's
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
      // It has ended.
    }
  };
  signalGroup('SIGINT');
  const timer = setTimeout(() => signalGroup('SIGKILL'), END_WITHIN_MS);
  await ended;
  clearTimeout(timer);
}
