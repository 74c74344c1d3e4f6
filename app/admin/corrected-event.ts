// A failed event with data that an operator has corrected. Pure.
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { eventSchemas, isEventType } from '../../contracts/events.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import { Problem } from '../../infra/http/problem.ts';
import type { Correction } from '../../infra/messaging/failed-actions.ts';

type Fields = Readonly<Record<string, unknown>>;

const utf8 = new TextDecoder('utf-8', { fatal: true });
const envelope = z.looseObject({ type: z.string() });

/** The fields that say whom or what an event is about. */
const isIdentity = (name: string) => /(?:^i|I)d$/.test(name);

/**
 * The event in `body` with other data. Throws a ZodError (422) whose paths begin with `data` if the data does not match
 * the event's schema, has a field that neither the schema nor the original knows, or has another id or user than the
 * original; a Problem (409) if the rest of the event cannot be read. `earlier`: the event of an earlier correction, which
 * this one replaces.
 */
export function correctionOf(body: Uint8Array, data: Fields, earlier: Uint8Array | null = null): Correction {
  const original = readEnvelope(body);
  const { type } = original;
  if (!isEventType(type)) throw notCorrectable(`${JSON.stringify(type.slice(0, 200))} is not the type of any event.`);
  const given = isFields(original.data) ? original.data : {};
  const { data: event, error } = eventSchemas[type].safeParse({ ...original, data });
  const outside = error?.issues.find(({ path: [first] }) => first !== 'data');
  if (outside) throw notCorrectable(`Its field ${outside.path.join('.')} ${outside.message}.`);
  const issues = [
    ...changedIdentities(given, data).map((path) => issueAt(path, 'must be as in the original')),
    ...(error?.issues ?? []),
    ...(event ? undeclared(data, event.data, given).map((path) => issueAt(path, 'is not a field of this event')) : []),
  ];
  if (issues.length > 0) throw new z.ZodError(issues);
  const corrected = JSON.stringify({ ...original, data });
  if (Buffer.byteLength(corrected) > MAX_EVENT_BYTES)
    throw new z.ZodError([issueAt([], `makes an event of more than ${MAX_EVENT_BYTES} bytes`)]);
  return { event: corrected, before: earlier ? readEnvelope(earlier).data : original.data, after: data };
}

function readEnvelope(body: Uint8Array): z.infer<typeof envelope> {
  let json: unknown;
  try {
    json = JSON.parse(utf8.decode(body));
  } catch {
    throw notCorrectable('It is not JSON.');
  }
  const { data, success } = envelope.safeParse(json);
  if (!success) throw notCorrectable('It has no type.');
  return data;
}

/** The paths of ids and users, at any depth, that differ, are missing or are new. */
function changedIdentities(original: Fields, corrected: Fields): string[][] {
  const names = new Set([...Object.keys(original), ...Object.keys(corrected)]);
  return [...names].flatMap((name) => {
    const [before, after] = [original[name], corrected[name]];
    if (isIdentity(name)) return isDeepStrictEqual(before, after) ? [] : [[name]];
    if (!isFields(before) && !isFields(after)) return [];
    const inside = changedIdentities(isFields(before) ? before : {}, isFields(after) ? after : {});
    return inside.map((path) => [name, ...path]);
  });
}

/** The paths of fields that parsing has dropped, unless they are as in the original: a newer version may know them. */
function undeclared(corrected: Fields, parsed: Fields, original: Fields): string[][] {
  return Object.entries(corrected).flatMap(([name, value]) => {
    if (!(name in parsed)) return isDeepStrictEqual(value, original[name]) ? [] : [[name]];
    const [inside, before] = [parsed[name], original[name]];
    if (!isFields(value) || !isFields(inside)) return [];
    return undeclared(value, inside, isFields(before) ? before : {}).map((path) => [name, ...path]);
  });
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const issueAt = (path: readonly string[], message: string) => ({
  code: 'custom' as const,
  path: ['data', ...path],
  message,
  input: undefined,
});

const notCorrectable = (detail: string) =>
  new Problem(409, 'message-not-correctable', { title: 'The data of this message cannot be corrected', detail });
