// The rules for objects: their fields, which of them may be missing, and fields that the schema does not name.
import { type Compare, type Direction, type Finding, fieldIn } from './findings.ts';
import type { JsonSchema } from './json-schema.ts';
import { isSchema, schemaOf } from './normal-form.ts';

interface Fields {
  readonly named: ReadonlyMap<string, JsonSchema>;
  readonly required: ReadonlySet<string>;
  /** The schema of the other fields; undefined: there must be none. */
  readonly others: JsonSchema | undefined;
}

const fieldsOf = ({ properties, required, additionalProperties }: JsonSchema): Fields => ({
  named: new Map(
    isSchema(properties) ? Object.entries(properties).map(([name, field]) => [name, schemaOf(field)]) : [],
  ),
  required: new Set(Array.isArray(required) ? required.map(String) : []),
  others: additionalProperties === false ? undefined : schemaOf(additionalProperties),
});

const isOpen = (others: JsonSchema | undefined) => others !== undefined && Object.keys(others).length === 0;

interface Comparison {
  readonly before: Fields;
  readonly after: Fields;
  readonly direction: Direction;
  readonly path: string;
  readonly compare: Compare;
}

/** Compares two resolved schemas of objects. */
export function compareObjects(
  baseline: JsonSchema,
  current: JsonSchema,
  context: Pick<Comparison, 'direction' | 'path' | 'compare'>,
): Finding[] {
  const { path, compare } = context;
  const comparison = { ...context, before: fieldsOf(baseline), after: fieldsOf(current) };
  return [
    ...keptFields(comparison),
    ...newFields(comparison),
    ...otherFields(comparison),
    ...compare(schemaOf(baseline.propertyNames), schemaOf(current.propertyNames), `${path}{name}`),
  ];
}

function keptFields({ before, after, direction, path, compare }: Comparison): Finding[] {
  // A record requires its keys without naming them.
  const names = new Set([...before.named.keys(), ...before.required]);
  return [...names].flatMap((name): Finding[] => {
    const field = fieldIn(path, name);
    const was = before.named.get(name);
    const is = after.named.get(name);
    if (was && !is) return [{ path: field, rule: 'field-removed', detail: 'the field is gone, or has another name' }];
    const required = requiredRule(name, { before, after, direction, path });
    return [...required, ...(was && is ? compare(was, is, field) : [])];
  });
}

function requiredRule(name: string, { before, after, direction, path }: Omit<Comparison, 'compare'>): Finding[] {
  const [was, is] = [before.required.has(name), after.required.has(name)];
  const field = fieldIn(path, name);
  if (!was && is) return [{ path: field, rule: 'field-required', detail: 'the field was optional, and is required' }];
  if (was && !is && direction === 'produced')
    return [{ path: field, rule: 'field-optional', detail: 'the field was required, and is optional' }];
  return [];
}

function newFields({ before, after, direction, path, compare }: Comparison): Finding[] {
  const names = new Set([...after.named.keys(), ...after.required]);
  return [...names]
    .filter((name) => !before.named.has(name) && !before.required.has(name))
    .flatMap((name): Finding[] => {
      const field = fieldIn(path, name);
      if (after.required.has(name)) return [{ path: field, rule: 'field-required', detail: 'a new field is required' }];
      if (direction === 'produced' && before.others === undefined)
        return [{ path: field, rule: 'unknown-fields', detail: 'readers of the baseline reject this new field' }];
      if (before.others === undefined) return [];
      // A record's readers take the new field for one of its values; a lenient request could hold anything here.
      const isIgnored = direction === 'produced' && isOpen(before.others);
      return isIgnored ? [] : compare(before.others, after.named.get(name) ?? {}, field);
    });
}

function otherFields({ before, after, direction, path, compare }: Comparison): Finding[] {
  const [was, is] = [before.others, after.others];
  if (was && is) return compare(was, is, `${path}{}`);
  if (!was && !is) return [];
  if (!was && direction === 'accepted') return [];
  const detail = is ? 'unknown fields were rejected, and are allowed' : 'unknown fields were allowed, and are rejected';
  return [{ path, rule: 'unknown-fields', detail }];
}
