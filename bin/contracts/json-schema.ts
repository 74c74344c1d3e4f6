// The JSON Schemas (draft 2020-12) of zod schemas, with what JSON Schema cannot express beside them, so that the gate
// (check-contracts.ts) sees each change of a schema. They describe the data on the wire, before it is parsed: the side
// that other programs write and read.
import { z } from 'zod';
import { currency, currencyCodes } from '../../contracts/money.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** The messages of a schema's refinements. Their code is not compared: a message says what it requires. */
export const REFINEMENTS = 'x-refinements';
/** The schema that a value must match after its text has been parsed, such as the limits of a number in a query. */
export const PARSED = 'x-parsed';
/** The text is converted by a function, which cannot be compared. */
const TRANSFORMED = 'x-transformed';

/** The refinements that JSON Schema can express after all. */
const EXPRESSED = new Map<unknown, JsonSchema>([[currency, { enum: currencyCodes }]]);

/** `io: 'input'` is the data on the wire. An object that is not strict allows fields that it does not name. */
export function toJsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      Object.assign(jsonSchema, beyondJsonSchema(zodSchema));
    },
  });
}

function beyondJsonSchema(schema: z.core.$ZodTypes): JsonSchema {
  const { def } = schema._zod;
  const expressed = EXPRESSED.get(schema);
  const refinements = expressed ? [] : refinementsOf(schema);
  return {
    ...expressed,
    ...(refinements.length > 0 ? { [REFINEMENTS]: refinements } : {}),
    // zod leaves out the default of a field that is parsed further.
    ...(def.type === 'default' ? { default: def.defaultValue } : {}),
    ...(def.type === 'pipe' ? afterParsing(def) : {}),
  };
}

const refinementsOf = ({ _zod: { def } }: z.core.$ZodTypes): string[] =>
  (def.checks ?? []).flatMap(({ _zod: { def: check } }) =>
    check.check === 'custom' ? [messageOf(check.error as CustomError | undefined)] : [],
  );

type CustomError = z.core.$ZodErrorMap<z.core.$ZodIssueCustom>;

function messageOf(error: CustomError | undefined): string {
  const message = error?.({ code: 'custom', input: undefined });
  return (typeof message === 'string' ? message : message?.message) ?? 'without a message';
}

function afterParsing({ out }: z.core.$ZodPipeDef): JsonSchema {
  if (!(out instanceof z.ZodType)) return {};
  return out instanceof z.ZodTransform ? { [TRANSFORMED]: true } : { [PARSED]: toJsonSchema(out) };
}
