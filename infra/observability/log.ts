// The log: JSON lines for programs, aligned and coloured lines for people on a terminal. Every line names its service:
// services log through `log.child({ service })`.
//
// A consumer logs one line per message, with `event`, its subject, `ms` (from arrival to the end of handling) and
// `outcome`. Secrets never reach the log: URLs are logged through redactUrl (runtime/settings.ts).
import { type DestinationStream, type Level, type Logger, multistream, pino } from 'pino';
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

/** Bytes that standard output may lag behind; further lines are dropped, so that a service is never slowed down. */
const MAX_BUFFERED_BYTES = 8 * 1024 * 1024;

export function createLog({ level, pretty, subjectName, destination = standardOutput(), mirror }: LogOptions): Logger {
  const format = (line: string) => `${formatLogLine(JSON.parse(line) as object, { color: true, subjectName })}\n`;
  const shown = pretty ? { write: (line: string) => destination.write(format(line)) } : destination;
  const sink = mirror ? multistream([shown, mirror].map((stream) => ({ level, stream }))) : shown;
  // Without pid and host name, which the log collector adds.
  return pino({ level, base: null }, sink);
}

/** Writes in the background; the rest is written when the process exits, also by process.exit(). */
const standardOutput = () => pino.destination({ dest: 1, sync: false, maxLength: MAX_BUFFERED_BYTES });
