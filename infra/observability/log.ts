// The log: JSON lines for programs, one aligned and coloured line for people on a terminal. Every line carries the
// service it belongs to: services log through `log.child({ service })`.
//
// A consumer's work on one message is one line with `event`, its subject, `ms` (from its arrival to the end of its
// handling) and `outcome`. Secrets never reach the log: URLs are logged through redactUrl (runtime/settings.ts).
import { type DestinationStream, type Level, type Logger, multistream, pino } from 'pino';
import { formatLogLine } from './log-format.ts';

export interface LogOptions {
  readonly level: Level;
  /** Coloured lines for people instead of JSON lines. */
  readonly pretty: boolean;
  /** What services call a message's subject, for those lines. */
  readonly subjectName?: string;
  /** Where lines go; standard output where it is left out. */
  readonly destination?: DestinationStream;
  /** Receives every line as JSON as well (log-mirror.ts). */
  readonly mirror?: DestinationStream;
}

/** Standard output may lag behind by this many bytes; lines beyond are lost rather than slow a service down. */
const MAX_BUFFERED_BYTES = 8 * 1024 * 1024;

export function createLog({ level, pretty, subjectName, destination = standardOutput(), mirror }: LogOptions): Logger {
  const shown: DestinationStream = pretty ? prettyInto(destination, subjectName) : destination;
  const sink = mirror ? multistream([shown, mirror].map((stream) => ({ level, stream }))) : shown;
  // Without pid and host name: they are the same on every line, and the log's collector knows them.
  return pino({ level, base: null }, sink);
}

/** Writes in the background; what is still buffered is written when the process exits, also by process.exit(). */
function standardOutput(): DestinationStream {
  return pino.destination({ dest: 1, sync: false, maxLength: MAX_BUFFERED_BYTES });
}

const prettyInto = (destination: DestinationStream, subjectName: string | undefined): DestinationStream => ({
  write: (line) => destination.write(`${formatLogLine(JSON.parse(line) as object, { color: true, subjectName })}\n`),
});
