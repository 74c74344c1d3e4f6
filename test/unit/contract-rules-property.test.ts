// The rules of the gate against the schemas themselves: a change without a finding makes no valid data invalid.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { compareSchemas } from '../../bin/contracts/compare-schemas.ts';
import { toJsonSchema } from '../../bin/contracts/json-schema.ts';

type Pair<T = z.ZodType> = readonly [before: T, after: T];

/** The same before and after, or not. */
const pairOf = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<Pair<T>> =>
  fc.oneof(
    values.map((value) => [value, value] as const),
    fc.tuple(values, values),
  );
const each = <T, U>([before, after]: Pair<T>, make: (value: T, isAfter: boolean) => U): Pair<U> => [
  make(before, false),
  make(after, true),
];
const side = <T>([before, after]: Pair<T>, isAfter: boolean): T => (isAfter ? after : before);

const bounds = fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 }));
const leaves = fc.oneof(
  bounds.map(
    ([min, more]): z.ZodType =>
      z
        .string()
        .min(min)
        .max(min + more),
  ),
  bounds.map(
    ([min, more]): z.ZodType =>
      z
        .int()
        .min(min)
        .max(min + more),
  ),
  fc.constantFrom<z.ZodType>(z.int(), z.number(), z.boolean(), z.null(), z.string(), z.unknown()),
  fc.constantFrom<z.ZodType>(z.string().regex(/^a/), z.string().regex(/^a/).regex(/b$/)),
  fc.subarray(['a', 'b', 'ab'], { minLength: 1 }).map((values): z.ZodType => z.enum(values)),
);

interface Field {
  readonly schema: Pair;
  readonly state: Pair<'required' | 'optional' | 'none'>;
}

const shapeOf = (fields: Readonly<Record<string, Field>>, isAfter: boolean) =>
  Object.fromEntries(
    Object.entries(fields).flatMap(([name, { schema, state }]) => {
      const of = side(schema, isAfter);
      const is = side(state, isAfter);
      return is === 'none' ? [] : [[name, is === 'optional' ? of.optional() : of]];
    }),
  );

/** Small schemas that differ in a few places, if at all. */
const { schema: change } = fc.letrec<{ schema: Pair }>((tie) => {
  const schema = tie('schema');
  const field = fc.record({ schema, state: pairOf(fc.constantFrom('required', 'optional', 'none')) });
  return {
    schema: fc.oneof(
      { maxDepth: 2, withCrossShrink: true },
      pairOf(leaves),
      fc.tuple(fc.record({ a: field, b: field }), pairOf(fc.boolean())).map(([fields, strict]) =>
        each(strict, (isStrict, isAfter): z.ZodType => {
          const shape = shapeOf(fields, isAfter);
          return isStrict ? z.strictObject(shape) : z.object(shape);
        }),
      ),
      schema.map((value) => each(value, (of): z.ZodType => z.record(z.string(), of))),
      fc.tuple(schema, pairOf(bounds)).map(([item, limits]) =>
        each(
          limits,
          ([min, more], isAfter): z.ZodType =>
            z
              .array(side(item, isAfter))
              .min(min)
              .max(min + more),
        ),
      ),
      fc.tuple(schema, schema, pairOf(fc.boolean())).map(([first, second, both]) =>
        each(both, (isUnion, isAfter): z.ZodType => {
          const one = side(first, isAfter);
          return isUnion ? z.union([one, side(second, isAfter)]) : one;
        }),
      ),
      fc
        .tuple(schema, pairOf(fc.boolean()))
        .map(([value, nullable]) =>
          each(nullable, (is, isAfter): z.ZodType => (is ? side(value, isAfter).nullable() : side(value, isAfter))),
        ),
    ),
  };
});

const { data } = fc.letrec<{ data: unknown }>((tie) => ({
  data: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom('', 'a', 'b', 'ab', 'aab', 'abba'),
    fc.constantFrom(0, 1, 2, 3, 4, 0.5),
    fc.constantFrom(true, null),
    fc.array(tie('data'), { maxLength: 3 }),
    fc.record({ a: tie('data'), b: tie('data'), c: tie('data') }, { requiredKeys: [] }),
  ),
}));

const samples = fc.array(data, { minLength: 20, maxLength: 40 });
const isValid = (by: z.ZodType, value: unknown) => by.safeParse(value).success;

test('data that a request accepted stays valid', () => {
  fc.assert(
    fc.property(change, samples, ([before, after], values) => {
      if (compareSchemas(toJsonSchema(before), toJsonSchema(after), 'accepted').length > 0) return;
      const broken = values.filter((value) => isValid(before, value) && !isValid(after, value));
      expect(broken).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

test('what each version produces is valid for the other one', () => {
  fc.assert(
    fc.property(change, samples, ([before, after], values) => {
      if (compareSchemas(toJsonSchema(before), toJsonSchema(after), 'produced').length > 0) return;
      // An undeclared field is none that the baseline produces.
      const written = values.flatMap((value) => {
        const { success, data: known } = before.safeParse(value);
        return success ? [known] : [];
      });
      expect(written.filter((value) => !isValid(after, value))).toEqual([]);
      expect(values.filter((value) => isValid(after, value) && !isValid(before, value))).toEqual([]);
    }),
    { numRuns: 200 },
  );
});
