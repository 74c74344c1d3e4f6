// Values that match a JSON Schema, as z.toJSONSchema makes it of the schemas of requests.
import fc from 'fast-check';

interface JsonSchema {
  readonly [keyword: string]: unknown;
}

const asSchema = (value: unknown): JsonSchema =>
  (typeof value === 'object' && value !== null ? value : {}) as JsonSchema;
const asNumber = (value: unknown, otherwise: number) => (typeof value === 'number' ? value : otherwise);

/** Refinements, which no JSON Schema has, may still reject a value. */
export function arbitraryOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  const { const: only, enum: values, anyOf, oneOf, type } = schema;
  if (only !== undefined) return fc.constant(only);
  if (Array.isArray(values)) return fc.constantFrom(...(values as unknown[]));
  const variants = (anyOf ?? oneOf) as unknown[] | undefined;
  if (variants) return fc.oneof(...variants.map((variant) => arbitraryOf(asSchema(variant))));
  switch (type) {
    case 'string':
      return stringOf(schema);
    case 'integer':
      return fc.integer({
        min: asNumber(schema.minimum, -1_000),
        max: Math.min(asNumber(schema.maximum, 1_000), 2 ** 31 - 1),
      });
    case 'number':
      return fc.double({ min: asNumber(schema.minimum, -1e6), max: asNumber(schema.maximum, 1e6), noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(arbitraryOf(asSchema(schema.items)), { minLength: asNumber(schema.minItems, 0), maxLength: 3 });
    case 'object':
      return objectOf(schema);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function stringOf({ pattern, format, minLength, maxLength }: JsonSchema): fc.Arbitrary<string> {
  if (format === 'uuid') return fc.uuid();
  if (typeof pattern === 'string') return fc.stringMatching(new RegExp(pattern));
  return fc.string({
    minLength: asNumber(minLength, 0),
    maxLength: Math.min(asNumber(maxLength, 60), 60),
    unit: 'grapheme',
  });
}

function objectOf({ properties, required, additionalProperties }: JsonSchema): fc.Arbitrary<object> {
  const fields = Object.entries(asSchema(properties)).map(
    ([name, field]) => [name, arbitraryOf(asSchema(field))] as const,
  );
  const named = fc.record(Object.fromEntries(fields), { requiredKeys: Array.isArray(required) ? required : [] });
  if (fields.length > 0 || additionalProperties === undefined || additionalProperties === false) return named;
  return fc.dictionary(fc.string({ maxLength: 10 }), arbitraryOf(asSchema(additionalProperties)), { maxKeys: 3 });
}
