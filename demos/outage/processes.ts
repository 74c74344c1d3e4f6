// The processes that run the services of an outage: started here, known by their ids, and ended with this process, in
// whatever way that ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ServiceName } from '../../contracts/services.ts';
import { CliError } from '../shared/errors.ts';
import { type Guard, startGuard } from '../shared/guard.ts';
import { printable } from '../shared/terminal.ts';
import type { PartRequest, Report } from './messages.ts';

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const PROGRAM = fileURLToPath(new URL(`./member.${extension}`, import.meta.url));

const READY_WITHIN_MS = 60_000;
/** Longer than the services' own STOP_TIMEOUT_MS. */
const STOP_WITHIN_MS = 15_000;
/** For stopping and starting a service within a process. */
const ASK_WITHIN_MS = 30_000;
/** Lines of a process's output that are shown where it fails. */
const LAST_WORDS = 5;

export type Environment = Readonly<Record<string, string>>;

/** One process. */
export interface Member {
  /** Where it answers. */
  readonly url: string;
  /** Resolves when the service is stopped, or runs again; the process goes on. */
  ask(request: PartRequest): Promise<void>;
  /** Resolves when it has ended. SIGTERM is followed by SIGKILL where it takes too long. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

export class Processes {
  readonly #folder: string;
  readonly #guard: Guard;
  readonly #running = new Map<number, Member>();
  readonly #broken = new AbortController();

  private constructor(folder: string, guard: Guard) {
    this.#folder = folder;
    this.#guard = guard;
  }

  /** `folder`: where they run, and what is removed at the end. It holds no settings. */
  static async open(folder: string): Promise<Processes> {
    const script = 'for pid in $last; do kill -s KILL "$pid"; done; rm -rf -- "$1"';
    return new Processes(folder, await startGuard(script, folder));
  }

  /** Aborts with a CliError when a process has ended that was not told to. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  /** Resolves when it is ready. Its environment is `env` and nothing of ours. */
  async start(services: readonly ServiceName[], env: Environment, signal: AbortSignal): Promise<Member> {
    const name = services.length === 0 ? 'the system' : services.join(' and ');
    const child = spawn(process.execPath, [...process.execArgv, PROGRAM, ...services], {
      cwd: this.#folder,
      env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production', LOG_FORMAT: 'json', LOG_LEVEL: 'warn', ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: true, // Ctrl-C in the terminal reaches this process only, which then ends that one in good order
    });
    await once(child, 'spawn');
    child.on('error', () => {}); // of its channel; what matters is that it ends, or does not answer
    const pid = Number(child.pid);
    const lines = lastLinesOf(child);
    let told = false;
    const end = async (how: 'SIGTERM' | 'SIGKILL') => {
      told = true;
      await endProcess(child, how);
    };
    let url = '';
    const member: Member = {
      get url() {
        return url;
      },
      ask: async (request) => {
        const answer = nextReport(child, AbortSignal.timeout(ASK_WITHIN_MS));
        child.send(request);
        const report = await answer;
        if ('failed' in report) throw new CliError(`${name}: ${request.part} ${request.service}: ${report.failed}`);
      },
      end,
    };
    this.#running.set(pid, member);
    this.#tell();
    child.once('exit', (code, how) => {
      this.#running.delete(pid);
      this.#tell(); // by then the number may be someone else's
      if (told) return;
      const text = `${name} ended by itself (${how ?? `code ${code}`})\n${lines.map(printable).join('\n')}`;
      this.#broken.abort(new CliError(text.trim()));
    });

    const inTime = AbortSignal.any([signal, AbortSignal.timeout(READY_WITHIN_MS)]);
    try {
      const report = await nextReport(child, inTime);
      if ('readyAt' in report) url = report.readyAt;
      else throw new CliError(`${name} did not start: ${printable('failed' in report ? report.failed : 'no reason')}`);
      return member;
    } catch (error) {
      await end('SIGKILL');
      signal.throwIfAborted();
      if (inTime.aborted) throw new CliError(`${name} is not ready after ${READY_WITHIN_MS / 1_000} s`);
      throw error;
    }
  }

  /** Ends all that still run and removes the folder. */
  async close(): Promise<void> {
    await Promise.all(Array.from(this.#running.values(), (member) => member.end('SIGTERM')));
    await this.#guard.close();
  }

  #tell(): void {
    this.#guard.tell([...this.#running.keys()].join(' '));
  }
}

/** Reads on and on, so that the pipes never fill. */
function lastLinesOf(child: ChildProcess): string[] {
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      lines.push(...text.split('\n').filter((line) => line !== ''));
      lines.splice(0, lines.length - LAST_WORDS);
    });
  return lines;
}

/** Rejects where the process ends before it says anything, and when `signal` aborts. */
async function nextReport(child: ChildProcess, signal?: AbortSignal): Promise<Report> {
  const settled = new AbortController();
  const options = { signal: signal ? AbortSignal.any([signal, settled.signal]) : settled.signal };
  const report = once(child, 'message', options).then(([message]) => message as Report);
  const exit = once(child, 'exit', options).then(([code, how]): never => {
    throw new CliError(`a process ended (${how ?? `code ${code}`}) before it answered`);
  });
  try {
    return await Promise.race([report, exit]);
  } finally {
    settled.abort();
    await Promise.allSettled([report, exit]);
  }
}

async function endProcess(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  child.kill(signal);
  await exited;
  clearTimeout(timer);
}
