// JSON Schemas of zod's, for documents that keep all named schemas in one place.
import { z } from 'zod';

export type JsonSchema = { readonly [keyword: string]: unknown };

/** Formats that say what zod's long patterns say. A time is in UTC. */
const shortPatterns: Readonly<Record<string, string | undefined>> = { uuid: undefined, 'date-time': 'Z$' };

/**
 * The schema (draft 7) of what a reader accepts, so unknown fields are allowed. `named`: the schemas inside it that have
 * an `id`, by that id; references to them begin with `base`, such as `#/components/schemas/`.
 */
export function jsonSchemaOf(
  schema: z.ZodType,
  base: string,
): { schema: JsonSchema; named: Record<string, JsonSchema> } {
  const json = z.toJSONSchema(schema, {
    target: 'draft-7',
    io: 'input',
    override: ({ jsonSchema }) => {
      const { format } = jsonSchema;
      if (format === undefined || !Object.hasOwn(shortPatterns, format)) return;
      const pattern = shortPatterns[format];
      if (pattern === undefined) delete jsonSchema.pattern;
      else jsonSchema.pattern = pattern;
    },
  });
  const {
    $schema: _,
    definitions = {},
    ...rest
  } = JSON.parse(JSON.stringify(json).replaceAll('"$ref":"#/definitions/', `"$ref":"${base}`)) as JsonSchema & {
    definitions?: Record<string, JsonSchema>;
  };
  return { schema: rest, named: definitions };
}
