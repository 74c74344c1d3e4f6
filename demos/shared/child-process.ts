// Child processes: started, listened to, ended by their id within a deadline, never left behind.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { within } from '../../infra/runtime/promises.ts';
import { CliError } from './errors.ts';
import type { User } from './folder.ts';
import { type Guard, startGuard } from './guard.ts';
import { printable } from './terminal.ts';

/** Longer than a service's own STOP_TIMEOUT_MS. */
const END_WITHIN_MS = 15_000;
/** The last lines of its output are kept for the message if it fails. */
const LAST_LINES = 5;

export type Environment = Readonly<Record<string, string>>;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export const exitText = ({ code, signal }: Exit): string => signal ?? `code ${code}`;

export class Child {
  readonly name: string;
  readonly exited: Promise<Exit>;
  readonly #process: ChildProcess;
  readonly #lastLines: string[] = [];
  #exit: Exit | undefined;
  #told = false;

  constructor(name: string, process: ChildProcess) {
    this.name = name;
    this.#process = process;
    this.exited = new Promise((resolve) => {
      process.once('exit', (code, signal) => {
        this.#exit = { code, signal };
        resolve(this.#exit);
      });
    });
    process.on('error', () => {}); // errors of its channel show as an exit or a missing reply
    // Reads all output, so that the pipes never fill.
    for (const stream of [process.stdout, process.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#lastLines.push(...text.split('\n').filter((line) => line !== ''));
        this.#lastLines.splice(0, this.#lastLines.length - LAST_LINES);
      });
  }

  /** Undefined after its end, when another process may have the same number. */
  get pid(): number | undefined {
    return this.#exit ? undefined : this.#process.pid;
  }

  /** How it ended; undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** Whether it ended without end(). */
  get endedByItself(): boolean {
    return this.#exit !== undefined && !this.#told;
  }

  /** The end of its output. */
  get lastLines(): string {
    return this.#lastLines.map(printable).join('\n');
  }

  /** Over its channel. */
  send(message: object): void {
    this.#process.send(message);
  }

  /**
   * Resolves with the first value that `pick` returns for one of its further messages. Rejects if the process ends
   * first, if `withinMs` pass, or with the error that `pick` throws.
   */
  async receive<T>(withinMs: number, pick = (message: unknown) => message as T | undefined): Promise<T> {
    let onMessage = (_message: unknown) => {};
    const received = new Promise<T>((resolve, reject) => {
      onMessage = (message) => {
        try {
          const picked = pick(message);
          if (picked !== undefined) resolve(picked);
        } catch (error) {
          reject(error);
        }
      };
    });
    const ended = this.exited.then((exit): never => {
      throw new CliError(`${this.name} ended (${exitText(exit)}) before it replied`);
    });
    const late = () => new CliError(`${this.name} did not reply within ${withinMs / 1_000} s`);
    this.#process.on('message', onMessage);
    try {
      return await within(withinMs, Promise.race([received, ended]), late);
    } finally {
      this.#process.off('message', onMessage);
    }
  }

  /** Sends a message and resolves with the reply, as `receive` does. */
  request<T>(message: object, withinMs: number, pick?: (message: unknown) => T | undefined): Promise<T> {
    const reply = this.receive<T>(withinMs, pick);
    this.send(message);
    return reply;
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  /** Resolves when it has ended. Sends SIGKILL if it takes too long. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<Exit> {
    this.#told = true;
    if (this.#exit) return this.#exit;
    this.signal(signal);
    return within(END_WITHIN_MS, this.exited).catch(() => {
      this.signal('SIGKILL');
      return this.exited;
    });
  }
}

/** A script with a channel. It must exit when the channel closes, so it also ends when this process dies. */
export const forkScript = (name: string, script: URL, args: readonly string[] = []): Child =>
  new Child(name, fork(fileURLToPath(script), args, { env: { ...process.env, NODE_ENV: 'production' } }));

export interface Program {
  /** For messages. */
  readonly name: string;
  /** Default: Node.js. */
  readonly command?: string;
  readonly args: readonly string[];
  /** The whole environment: no setting of this process is inherited. */
  readonly env: Environment;
  /** Its output is appended to this file. Default: the last lines are kept, and there is a channel to it. */
  readonly outputFile?: string;
  /** Default: the user of this process. */
  readonly user?: User | undefined;
}

/**
 * Child processes and their folder, which is removed at the end. They end with this process, even if that is killed.
 */
export class Supervisor {
  readonly folder: string;
  readonly #guard: Guard;
  readonly #running = new Map<number, Child>();

  private constructor(folder: string, guard: Guard) {
    this.folder = folder;
    this.#guard = guard;
  }

  static async open(folder: string): Promise<Supervisor> {
    // Removes twice, because a process that is ending may still create a file.
    const remove = 'rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }';
    const script = `for pid in $last; do kill -s KILL -- "-$pid"; done; ${remove}`;
    return new Supervisor(folder, await startGuard(script, folder));
  }

  /** Resolves as soon as it runs. */
  async start({ name, command = process.execPath, args, env, outputFile, user }: Program): Promise<Child> {
    const output = outputFile === undefined ? undefined : openSync(outputFile, 'a');
    try {
      const started = spawn(command, args, {
        cwd: this.folder,
        env: { ...env },
        stdio: output === undefined ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', output, output],
        // Leads a process group, which the guard kills. Ctrl-C in the terminal reaches only this process, which then
        // ends the child cleanly.
        detached: true,
        ...user,
      });
      const child = new Child(name, started);
      await once(started, 'spawn');
      const pid = Number(started.pid);
      this.#running.set(pid, child);
      this.#tellGuard();
      started.once('exit', () => {
        this.#running.delete(pid);
        this.#tellGuard();
      });
      return child;
    } finally {
      if (output !== undefined) closeSync(output);
    }
  }

  /** Ends all that still run and removes the folder. Safe to call twice. */
  async close(): Promise<void> {
    await Promise.all(Array.from(this.#running.values(), (child) => child.end()));
    await this.#guard.close();
  }

  #tellGuard(): void {
    this.#guard.tell([...this.#running.keys()].join(' '));
  }
}
