// The rules for a value by itself: its type, its listed values, its limits, its format, its default.
import { isDeepStrictEqual } from 'node:util';
import { type Direction, type Finding, type Rule, shown } from './findings.ts';
import type { JsonSchema } from './json-schema.ts';
import { valuesOf } from './normal-form.ts';

/** Compares two resolved schemas without alternatives. */
type ValueRule = (baseline: JsonSchema, current: JsonSchema, direction: Direction) => Omit<Finding, 'path'>[];

const finding = (rule: Rule, detail: string): Omit<Finding, 'path'>[] => [{ rule, detail }];
const changed = (rule: Rule, what: string, before: unknown, after: unknown) =>
  finding(rule, `${what}: ${shown(before)} became ${shown(after)}`);

/** True if only the one of `produced` counts, or the request no longer accepts what it did. */
const isBreaking = (direction: Direction, acceptsAll: boolean) => direction === 'produced' || !acceptsAll;

export const typeRule: ValueRule = ({ type: before }, { type: after }, direction) => {
  if (before === after) return [];
  const acceptsAll = after === undefined || (before === 'integer' && after === 'number');
  return isBreaking(direction, acceptsAll) ? changed('type', 'type', before, after) : [];
};

const enumRule: ValueRule = (baseline, current, direction) => {
  const before = valuesOf(baseline);
  const after = valuesOf(current);
  if (!before || !after) {
    if (before === after) return [];
    return isBreaking(direction, after === undefined) ? changed('enum', 'values', before, after) : [];
  }
  const without = (values: readonly unknown[], others: readonly unknown[]) =>
    values.filter((value) => !others.some((other) => isDeepStrictEqual(value, other)));
  const removed = without(before, after);
  const added = without(after, before);
  return [
    ...(removed.length > 0 ? finding('enum', `removed: ${removed.map(shown).join(', ')}`) : []),
    ...(added.length > 0 && direction === 'produced' ? finding('enum', `added: ${added.map(shown).join(', ')}`) : []),
  ];
};

/** Keywords by the side that they limit; a missing one is no limit. */
const LOWER = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties'];
const UPPER = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties'];
/** At least zero of them is no limit. */
const COUNTS = ['minLength', 'minItems', 'minProperties'];

const limitRule: ValueRule = (baseline, current, direction) =>
  [...LOWER, ...UPPER].flatMap((keyword) => {
    const sign = LOWER.includes(keyword) ? 1 : -1;
    const none = COUNTS.includes(keyword) ? 0 : Number.NEGATIVE_INFINITY;
    const of = (value: unknown) => (typeof value === 'number' ? sign * value : none);
    const [before, after] = [of(baseline[keyword]), of(current[keyword])];
    if (before === after) return [];
    return isBreaking(direction, after < before) ? changed('limit', keyword, baseline[keyword], current[keyword]) : [];
  });

const stepRule: ValueRule = ({ multipleOf: before }, { multipleOf: after }, direction) => {
  if (before === after) return [];
  const acceptsAll = after === undefined || (typeof before === 'number' && before % Number(after) === 0);
  return isBreaking(direction, acceptsAll) ? changed('limit', 'multipleOf', before, after) : [];
};

const uniqueRule: ValueRule = ({ uniqueItems: before = false }, { uniqueItems: after = false }, direction) => {
  if (before === after) return [];
  return isBreaking(direction, after === false) ? changed('limit', 'uniqueItems', before, after) : [];
};

/** Two of them cannot be compared, so another one counts as a narrower one. `pattern` is a list. */
const PATTERNS = ['pattern', 'format', 'contentEncoding', 'contentMediaType'];

const patternRule: ValueRule = (baseline, current, direction) =>
  PATTERNS.flatMap((keyword) => {
    const [before, after] = [baseline, current].map((schema) => [schema[keyword] ?? []].flat()) as [string[], string[]];
    if (isDeepStrictEqual(before, after)) return [];
    const acceptsAll = after.every((each) => before.includes(each));
    return isBreaking(direction, acceptsAll) ? changed('pattern', keyword, before, after) : [];
  });

export const valueRules: readonly ValueRule[] = [enumRule, limitRule, stepRule, uniqueRule, patternRule];

/** What an omitted field means is part of both directions. */
export const defaultRule: ValueRule = ({ default: before }, { default: after }) =>
  isDeepStrictEqual(before, after) ? [] : changed('default', 'default', before, after);
