// A schema in the one form that the rules compare: without $ref, boolean schemas, lists of types and annotations, with
// its alternatives in one list and its patterns in another.
import type { JsonSchema } from './json-schema.ts';

/** Keywords that say nothing about which data is valid. */
const ANNOTATIONS = [
  ...['$schema', '$id', '$defs', '$comment', 'id', 'title', 'description', 'examples', 'example', 'override'],
  ...['deprecated', 'readOnly', 'writeOnly'],
];

export const isSchema = (value: unknown): value is JsonSchema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** `true` allows everything and `false` nothing. A missing schema allows everything. */
export function schemaOf(value: unknown): JsonSchema {
  if (value === undefined || value === true) return {};
  if (isSchema(value)) return value;
  return { not: {} };
}

/** The schemas of a list such as `anyOf`; none if the keyword is missing. */
export const schemasOf = (value: unknown): JsonSchema[] => (Array.isArray(value) ? value.map(schemaOf) : []);

/**
 * The schema without $ref and annotations, with `pattern` as a list. `root` holds the $defs. Throws if a $ref has no
 * target.
 */
export function resolved(schema: JsonSchema, root: JsonSchema): JsonSchema {
  const { $ref, ...rest } = schema;
  const own = withPatterns(
    Object.fromEntries(Object.entries(rest).filter(([keyword]) => !ANNOTATIONS.includes(keyword))),
  );
  if (typeof $ref !== 'string') return own;
  const target = resolved(targetOf($ref, root), root);
  const overlapping = Object.keys(own).some((keyword) => Object.hasOwn(target, keyword));
  return overlapping ? { allOf: [target, own] } : { ...target, ...own };
}

/** Several patterns stand in an allOf, one by itself. Beside an anyOf, a oneOf is moved there, too. */
function withPatterns({ pattern, allOf, oneOf, ...rest }: JsonSchema): JsonSchema {
  const isPattern = (member: JsonSchema) => Object.keys(member).join() === 'pattern';
  const isSecond = rest.anyOf !== undefined && oneOf !== undefined;
  const members = [...schemasOf(allOf), ...(isSecond ? [{ oneOf }] : [])];
  const patterns = [pattern ?? [], members.filter(isPattern).map((member) => member.pattern)].flat(2);
  const others = members.filter((member) => !isPattern(member));
  return {
    ...rest,
    ...(oneOf === undefined || isSecond ? {} : { oneOf }),
    ...(patterns.length > 0 ? { pattern: patterns.map(String).sort() } : {}),
    ...(others.length > 0 ? { allOf: others } : {}),
  };
}

/** `#`, or a path in the document, such as `#/$defs/order`. */
function targetOf(ref: string, root: JsonSchema): JsonSchema {
  let target: unknown = root;
  for (const part of ref.split('/').slice(1)) {
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    target = isSchema(target) ? target[key] : undefined;
  }
  if (!ref.startsWith('#') || !isSchema(target)) throw new Error(`the schema has no ${ref}`);
  return target;
}

/** The alternatives of a resolved schema; a schema without any is its only one. */
export function variantsOf(schema: JsonSchema): JsonSchema[] {
  const { anyOf, oneOf, ...rest } = schema;
  const list = anyOf ?? oneOf;
  if (Array.isArray(list))
    return schemasOf(list).map((variant) => (Object.keys(rest).length === 0 ? variant : { allOf: [rest, variant] }));
  if (!Array.isArray(schema.type)) return [schema];
  return schema.type.map((type) => (type === 'null' ? { type } : { ...schema, type }));
}

/** The allowed values, if they are listed. */
export function valuesOf({ const: only, enum: values }: JsonSchema): readonly unknown[] | undefined {
  if (Array.isArray(values)) return values;
  return only === undefined ? undefined : [only];
}
