// The log: JSON lines for programs, aligned and coloured lines for people on a terminal. Every line names its service:
// services log through `log.child({ service })`.
//
// A consumer logs one line per message, with `event`, its subject, `ms` (from arrival to the end of handling) and
// `outcome`. Secrets never reach the log: URLs are logged through redactUrl (runtime/settings.ts).
import { type DestinationStream, type Level, type Logger, pino } from 'pino';
import { formatLogLine } from './log-format.ts';

export interface LogOptions {
  readonly level: Level;
  /** Coloured lines for people instead of JSON lines. */
  readonly pretty: boolean;
  /** The log field with a message's subject: `orderId`. */
  readonly subjectName?: string;
  /** Default: standard output. */
  readonly destination?: DestinationStream;
  /** Also receives every line, as JSON (log-mirror.ts). */
  readonly mirror?: DestinationStream;
}

export interface Log {
  readonly log: Logger;
  /** Writes a line that the log of another thread has made, as JSON. */
  readonly writeLine: (line: string) => void;
}

/** Bytes that standard output may lag behind; further lines are dropped, so that a service is never slowed down. */
const MAX_BUFFERED_BYTES = 8 * 1024 * 1024;

export const createLog = (options: LogOptions): Logger => openLog(options).log;

export function openLog({ level, pretty, subjectName, destination = standardOutput(), mirror }: LogOptions): Log {
  const format = (line: string) => `${formatLogLine(JSON.parse(line) as object, { color: true, subjectName })}\n`;
  const writeLine = (line: string) => {
    destination.write(pretty ? format(line) : line);
    mirror?.write(line);
  };
  // Without pid and host name, which the log collector adds.
  return { log: pino({ level, base: null }, { write: writeLine }), writeLine };
}

/** Writes in the background; the rest is written when the process exits, also by process.exit(). */
const standardOutput = () => pino.destination({ dest: 1, sync: false, maxLength: MAX_BUFFERED_BYTES });
