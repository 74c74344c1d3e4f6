// The rules for alternatives (anyOf, oneOf, lists of types) and for schemas that must all match (allOf). Which one of
// the baseline corresponds to which current one is not said anywhere: it is the one with the fewest findings.
import { isDeepStrictEqual } from 'node:util';
import { type Compare, type Direction, type Finding, shown } from './findings.ts';
import type { JsonSchema } from './json-schema.ts';
import { isSchema, valuesOf } from './normal-form.ts';

interface Place {
  readonly direction: Direction;
  readonly path: string;
  readonly compare: Compare;
}

interface Pair {
  readonly before: JsonSchema;
  readonly after: JsonSchema;
  readonly findings: Finding[];
}

const nearest = (pairs: readonly Pair[]): Pair | undefined =>
  pairs.reduce<Pair | undefined>(
    (best, pair) => (best && best.findings.length <= pair.findings.length ? best : pair),
    undefined,
  );

/** A schema in a message: its type, and what tells it from others. */
function named(schema: JsonSchema): string {
  const values = valuesOf(schema);
  if (values) return values.map(shown).join(' or ');
  const fields = isSchema(schema.properties) ? ` with ${Object.keys(schema.properties).join(', ')}` : '';
  return `${typeof schema.type === 'string' ? schema.type : 'a schema'}${fields}`;
}

export function compareVariants(before: readonly JsonSchema[], after: readonly JsonSchema[], place: Place): Finding[] {
  return place.direction === 'produced' ? compareEach(before, after, place) : compareAccepted(before, after, place);
}

/** Each alternative of the baseline must be valid by a current one. */
function compareAccepted(before: readonly JsonSchema[], after: readonly JsonSchema[], place: Place): Finding[] {
  const { path, compare } = place;
  return before.flatMap((variant): Finding[] => {
    const best = nearest(
      after.map((each) => ({ before: variant, after: each, findings: compare(variant, each, path) })),
    );
    if (best && (best.findings.length === 0 || correspond(best))) return best.findings;
    return [{ path, rule: 'variant', detail: `no longer accepted: ${named(variant)}` }];
  });
}

/** The alternatives must be the same, each with the changes that are allowed in it. */
function compareEach(before: readonly JsonSchema[], after: readonly JsonSchema[], { path, compare }: Place): Finding[] {
  const left = new Set(before);
  const gained = new Set(after);
  const findings: Finding[] = [];
  for (;;) {
    const pairs = [...left].flatMap((was) =>
      [...gained].map((is) => ({ before: was, after: is, findings: compare(was, is, path) })),
    );
    const best = nearest(pairs.filter(correspond));
    if (!best) break;
    left.delete(best.before);
    gained.delete(best.after);
    findings.push(...best.findings);
  }
  for (const variant of left) findings.push({ path, rule: 'variant', detail: `removed: ${named(variant)}` });
  for (const variant of gained) findings.push({ path, rule: 'variant', detail: `added: ${named(variant)}` });
  return findings;
}

/** Otherwise one alternative was removed, and the other one added. */
const correspond = ({ before, after }: Pair): boolean => !areDisjoint(before, after);

function haveNoCommonValue(a: JsonSchema, b: JsonSchema): boolean {
  const [valuesOfA, valuesOfB] = [valuesOf(a), valuesOf(b)];
  if (!valuesOfA || !valuesOfB) return false;
  return !valuesOfA.some((value) => valuesOfB.some((other) => isDeepStrictEqual(value, other)));
}

/** Whether no data can match both: another type, or a field that both require and that has no value in common. */
export function areDisjoint(a: JsonSchema, b: JsonSchema): boolean {
  if (a.type !== undefined && b.type !== undefined && a.type !== b.type)
    return ![a.type, b.type].every((type) => type === 'integer' || type === 'number');
  if (haveNoCommonValue(a, b)) return true;
  const [fieldsOfA, fieldsOfB] = [a.properties, b.properties];
  if (!isSchema(fieldsOfA) || !isSchema(fieldsOfB) || !Array.isArray(a.required) || !Array.isArray(b.required))
    return false;
  const inBoth = a.required.filter((name) => Array.isArray(b.required) && b.required.includes(name)).map(String);
  return inBoth.some((name) => {
    const [fieldOfA, fieldOfB] = [fieldsOfA[name], fieldsOfB[name]];
    return isSchema(fieldOfA) && isSchema(fieldOfB) && haveNoCommonValue(fieldOfA, fieldOfB);
  });
}

/** allOf: `accepted` data must match each current member, so one of the baseline must have demanded as much. */
export function compareMembers(before: readonly JsonSchema[], after: readonly JsonSchema[], place: Place): Finding[] {
  if (place.direction === 'produced') return compareEach(before, after, place);
  const { path, compare } = place;
  return after.flatMap((member): Finding[] => {
    const best = nearest(
      before.map((each) => ({ before: each, after: member, findings: compare(each, member, path) })),
    );
    return best ? best.findings : compare({}, member, path);
  });
}
