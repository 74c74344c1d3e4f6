// One log line for people, on the terminal of `npm start` and in the output of `sluice logs`.
//
//   12:00:01.123  points      ✓ order.placed          019a…3f9c2e    3 ms  done
//   12:00:01.140  coupon      ↻ order.placed          019a…3f9c2e   12 ms  retrying  deadlock detected
//   12:00:02.001  main        · listening  url=http://127.0.0.1:3000

const marks = {
  done: { mark: '✓', color: 32 },
  duplicate: { mark: '=', color: 36 },
  retrying: { mark: '↻', color: 33 },
  dead: { mark: '✗', color: 31 },
  'reply-retrying': { mark: '↻', color: 33 },
  'reply-dead': { mark: '✗', color: 31 },
};

/**
 * How a consumer's work on one message ended. `duplicate`: the message had been processed before; its reply, if it has
 * one, is resent. `reply-…`: that reply could not be resent, so far or for good.
 */
export type HandlingOutcome = keyof typeof marks;

const isOutcome = (value: unknown): value is HandlingOutcome =>
  typeof value === 'string' && Object.hasOwn(marks, value);

/** Fields that have a place of their own in the line, or none at all; others are shown as `key=value`. */
const placed = new Set(['level', 'time', 'pid', 'hostname', 'service', 'msg', 'err']);
const placedInAction = [...placed, 'event', 'ms', 'outcome'];

/**
 * One parsed JSON log line as text, with ANSI colours if `color`, without a line break at its end. `subjectName` is the
 * field with a message's subject: `orderId`. Any client that may publish to the broker can send log lines, so control
 * characters, which a terminal would execute, are removed.
 */
export function formatLogLine(line: object, format: { color: boolean; subjectName?: string | undefined }): string {
  const { color: colored, subjectName = 'subject' } = format;
  const fields = line as Record<string, unknown>;
  const paint = (color: number, text: string) => (colored ? `\u001b[${color}m${text}\u001b[0m` : text);
  const level = typeof fields.level === 'number' ? fields.level : 30;
  const head = `${paint(90, timeOf(fields.time))}  ${plain(fields.service ?? '').padEnd(10)}`;

  if (isOutcome(fields.outcome)) {
    const { mark, color } = marks[fields.outcome];
    const duration = typeof fields.ms === 'number' ? `${Math.round(fields.ms)} ms` : '';
    const action = [
      paint(color, `${mark} ${plain(fields.event ?? '').padEnd(22)}`),
      paint(90, shortId(plain(fields[subjectName] ?? '')).padEnd(11)),
      duration.padStart(7),
      paint(color, fields.outcome),
    ];
    return `${head}  ${action.join('  ')}${rest(fields, new Set([...placedInAction, subjectName]), paint)}`;
  }
  const [mark, color] = level >= 50 ? ['✗', 31] : level >= 40 ? ['!', 33] : ['·', 90];
  return `${head}  ${paint(color, mark)}${rest(fields, placed, paint)}`;
}

/** The message, the error and all other fields; an error's stack on lines of its own. */
function rest(fields: Record<string, unknown>, known: ReadonlySet<string>, paint: (c: number, t: string) => string) {
  const parts: string[] = [];
  // The message of a consumer's line may only repeat the outcome.
  if (fields.msg !== undefined && fields.msg !== fields.outcome) parts.push(plain(fields.msg));
  const error = fields.err as { message?: unknown; stack?: unknown } | null | undefined;
  if (error?.message !== undefined && error.message !== fields.msg) parts.push(plain(error.message));
  for (const [key, value] of Object.entries(fields)) {
    if (!known.has(key)) parts.push(paint(90, `${plain(key)}=${plain(value)}`));
  }
  const level = typeof fields.level === 'number' ? fields.level : 30;
  const frames = level >= 50 && typeof error?.stack === 'string' ? error.stack.split('\n').slice(1) : [];
  const stack = frames.map((frame) => `\n    ${paint(90, plain(frame.trim()))}`).join('');
  return parts.map((part) => `  ${part}`).join('') + stack;
}

/** Local time of day, to the millisecond. */
function timeOf(time: unknown): string {
  const date = new Date(typeof time === 'number' || typeof time === 'string' ? time : Number.NaN);
  if (Number.isNaN(date.getTime())) return '--:--:--.---';
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** UUIDv7s begin with the time and differ at the end: `019a…3f9c2e`. */
const shortId = (id: string) => (id.length > 11 ? `${id.slice(0, 4)}…${id.slice(-6)}` : id);

function plain(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  // Line breaks and tabs included.
  return text.replace(/\p{Cc}+/gu, ' ');
}
