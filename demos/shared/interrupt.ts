// Ctrl-C: the first one ends the command cleanly, a later one ends the process at once.
import { setMaxListeners } from 'node:events';
import { CliError, INTERRUPTED_EXIT_CODE } from './errors.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/**
 * A signal that follows another one within this time is the same one: a terminal signals npm and its children, and npm
 * passes the signal on to them.
 */
const SAME_SIGNAL_MS = 2_000;

/**
 * Runs `work` with a signal that aborts on SIGINT, on SIGTERM, and when the reader of stdout closes it (`sluice … |
 * head`). A signal more than SAME_SIGNAL_MS after the first one exits with 1. If `work` rejects after an abort, rejects
 * as interrupted.
 */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // each request under way has a listener, and the number of requests is bounded
  let signalledAt: number | undefined;
  const onSignal = () => {
    if (signalledAt !== undefined && performance.now() - signalledAt > SAME_SIGNAL_MS) process.exit(1);
    signalledAt ??= performance.now();
    controller.abort();
  };
  const onOutputError = (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  process.stdout.on('error', onOutputError);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    throw new CliError('interrupted', { exitCode: INTERRUPTED_EXIT_CODE, cause: error });
  } finally {
    process.stdout.off('error', onOutputError);
    // Until the process has ended, the same signal may come again and must not change how it ends. Node restores the
    // signals' own effect before a natural exit, not before this one, which comes when nothing is left to do.
    if (signalledAt !== undefined) process.once('beforeExit', () => process.exit());
    else for (const name of SIGNALS) process.off(name, onSignal);
  }
}

/** Resolves when `signal` aborts. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
