// Ctrl-C: the first one ends the command cleanly, a second one ends the process at once.
import { setMaxListeners } from 'node:events';
import { CliError, INTERRUPTED_EXIT_CODE } from './errors.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs `work` with a signal that aborts on SIGINT, on SIGTERM, and when the reader of stdout closes it (`sluice … |
 * head`). A second signal exits with 1. If `work` rejects after an abort, rejects as interrupted.
 */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // each request under way has a listener, and the number of requests is bounded
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(1);
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
    for (const name of SIGNALS) process.off(name, onSignal);
    process.stdout.off('error', onOutputError);
  }
}

/** Resolves when `signal` aborts. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
