// A system of the simulator's own, with everything embedded: a process of its own, so that buyers and gateway do not
// share one thread, on data that are gone afterwards.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CliError } from '../shared/errors.ts';
import { serverFolder } from '../shared/folder.ts';
import { startGuard } from '../shared/guard.ts';
import { printable } from '../shared/terminal.ts';

/** This command itself, compiled or as it is written. */
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const PROGRAM = fileURLToPath(new URL(`../../cli/main.${extension}`, import.meta.url));

const READY_WITHIN_MS = 60_000;
/** Longer than the system's own STOP_TIMEOUT_MS. */
const STOP_WITHIN_MS = 15_000;
/** Lines of its log that are shown where it does not start. */
const LAST_WORDS = 5;

export interface EmbeddedSystem {
  readonly url: string;
  /** Ends the process and removes its data. */
  stop(): Promise<void>;
}

export async function startEmbedded(signal: AbortSignal): Promise<EmbeddedSystem> {
  const folder = await serverFolder('flash-sale');
  // Also when this process is killed, nothing stays: no process and no data.
  const guard = await startGuard('[ -z "$last" ] || kill -s KILL "$last"; rm -rf -- "$1"', folder);
  const child = spawn(process.execPath, [...process.execArgv, PROGRAM, 'start'], {
    cwd: folder, // where there are no settings
    // Nothing else is inherited: it is the embedded system with its defaults, whatever is set here.
    env: {
      PATH: process.env.PATH ?? '',
      NODE_ENV: 'production',
      DATA_DIR: folder,
      PORT: '0',
      MQTT_PORT: '0',
      LOG_FORMAT: 'json',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // Ctrl-C in the terminal reaches this process only, which then ends that one in good order
  });
  const stop = async () => {
    await end(child);
    await guard.close();
  };
  try {
    await once(child, 'spawn');
    guard.tell(String(child.pid));
    // By then the number may be someone else's.
    child.once('exit', () => guard.tell(''));
    return { url: await readyUrl(child, signal), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Where it answers, which its log says once it is ready. Goes on reading after that, so that the pipes never fill. */
function readyUrl(child: ChildProcess, signal: AbortSignal): Promise<string> {
  const { stdout, stderr } = child;
  if (!stdout || !stderr) throw new TypeError('the output is piped');
  const lines: string[] = [];
  stderr.setEncoding('utf8').on('data', (text: string) => lines.push(text.trimEnd()));
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(`is not ready after ${READY_WITHIN_MS / 1_000} s`), READY_WITHIN_MS);
    const settle = (work: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      work();
    };
    const fail = (what: string) =>
      settle(() => reject(new CliError(`the embedded system ${what}\n${lastWords(lines)}`.trim())));
    const onAbort = () => settle(() => reject(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    child.once('exit', (code) => fail(`ended with code ${code} before it was ready`));
    createInterface(stdout).on('line', (line) => {
      lines.splice(0, lines.length - LAST_WORDS);
      lines.push(line);
      const url = urlIn(line);
      if (url !== undefined) settle(() => resolve(url));
    });
  });
}

function urlIn(line: string): string | undefined {
  if (!line.includes('ready on ')) return undefined;
  try {
    const { url } = JSON.parse(line) as { url?: unknown };
    return typeof url === 'string' ? url : undefined;
  } catch {
    return undefined;
  }
}

const lastWords = (lines: readonly string[]): string => lines.slice(-LAST_WORDS).map(printable).join('\n');

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  child.kill('SIGTERM');
  await exited;
  clearTimeout(timer);
}
