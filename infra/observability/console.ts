// Libraries write warnings to the console. In a process whose log is for programs, each of them is a line of the log.
import { format } from 'node:util';
import type { Logger } from 'pino';

/** Sends everything that is written through `console` to the log. */
export function sendConsoleTo(log: Logger): void {
  const levels = { debug: 'debug', log: 'info', info: 'info', warn: 'warn', error: 'warn', trace: 'debug' } as const;
  for (const [method, level] of Object.entries(levels))
    console[method as keyof typeof levels] = (...args: unknown[]) => log[level](format(...args));
}
