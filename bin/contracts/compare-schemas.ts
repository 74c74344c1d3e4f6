// Compares a JSON Schema with that of the baseline. Every keyword is compared by a rule; a difference in one that no
// rule knows is a finding, too.
import { isDeepStrictEqual } from 'node:util';
import { type Compare, type Direction, type Finding, shown } from './findings.ts';
import { type JsonSchema, PARSED, REFINEMENTS } from './json-schema.ts';
import { resolved, schemaOf, schemasOf, variantsOf } from './normal-form.ts';
import { compareObjects } from './object-rules.ts';
import { defaultRule, typeRule, valueRules } from './value-rules.ts';
import { areDisjoint, compareMembers, compareVariants } from './variant-rules.ts';

const OF_OBJECTS = ['properties', 'required', 'additionalProperties', 'propertyNames'];

/** The keywords that the rules compare. */
const JUDGED = new Set([
  ...OF_OBJECTS,
  ...['type', 'enum', 'const', 'anyOf', 'oneOf', 'allOf', 'default', PARSED, REFINEMENTS],
  ...['minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum', 'multipleOf'],
  ...['minLength', 'maxLength', 'pattern', 'format', 'contentEncoding', 'contentMediaType'],
  ...['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems'],
  ...['minProperties', 'maxProperties'],
]);

/** Each schema's $ref are looked up in itself. */
export function compareSchemas(baseline: JsonSchema, current: JsonSchema, direction: Direction): Finding[] {
  return new Comparison(baseline, current, direction).run();
}

class Comparison {
  readonly #baseline: JsonSchema;
  readonly #current: JsonSchema;
  readonly #direction: Direction;
  /** The pairs of $ref that are being compared: a schema may contain itself. */
  readonly #underWay = new Set<string>();

  constructor(baseline: JsonSchema, current: JsonSchema, direction: Direction) {
    this.#baseline = baseline;
    this.#current = current;
    this.#direction = direction;
  }

  run(): Finding[] {
    return this.#compare(this.#baseline, this.#current, '');
  }

  readonly #compare: Compare = (baseline, current, path) => {
    const isReference = baseline.$ref !== undefined || current.$ref !== undefined;
    const pair = isReference ? `${shown(baseline.$ref ?? baseline)} ${shown(current.$ref ?? current)}` : '';
    if (this.#underWay.has(pair)) return [];
    if (isReference) this.#underWay.add(pair);
    const before = resolved(baseline, this.#baseline);
    const after = resolved(current, this.#current);
    const findings = [...this.#compareWhole(before, after, path), ...this.#compareVariants(before, after, path)];
    this.#underWay.delete(pair);
    return findings;
  };

  /** What belongs to a schema as a whole, beside its alternatives. */
  #compareWhole(before: JsonSchema, after: JsonSchema, path: string): Finding[] {
    const byDefault = defaultRule(before, after, this.#direction).map((found) => ({ ...found, path }));
    const unjudged = [...new Set([...Object.keys(before), ...Object.keys(after)])]
      .filter((keyword) => !JUDGED.has(keyword) && !isDeepStrictEqual(before[keyword], after[keyword]))
      .map((keyword): Finding => {
        const detail = `${keyword}: ${shown(before[keyword])} became ${shown(after[keyword])}`;
        return { path, rule: 'unjudged', detail };
      });
    return [...byDefault, ...unjudged, ...this.#refinements(before, after, path), ...this.#parsed(before, after, path)];
  }

  #refinements(before: JsonSchema, after: JsonSchema, path: string): Finding[] {
    const listOf = (schema: JsonSchema) => (Array.isArray(schema[REFINEMENTS]) ? schema[REFINEMENTS].map(String) : []);
    const [was, is] = [listOf(before), listOf(after)];
    const removed = this.#direction === 'produced' ? was.filter((each) => !is.includes(each)) : [];
    return [
      ...removed.map((each): Finding => ({ path, rule: 'refinement', detail: `removed: ${each}` })),
      ...is
        .filter((each) => !was.includes(each))
        .map((each): Finding => ({ path, rule: 'refinement', detail: `added: ${each}` })),
    ];
  }

  #parsed(before: JsonSchema, after: JsonSchema, path: string): Finding[] {
    const [was, is] = [before[PARSED], after[PARSED]];
    if (was === undefined && is === undefined) return [];
    // Documents of their own, with $defs of their own.
    if (was !== undefined && is !== undefined)
      return compareSchemas(schemaOf(was), schemaOf(is), this.#direction).map((found) => ({
        ...found,
        path: [path, found.path].filter(Boolean).join('.'),
      }));
    const detail = is ? 'the text is parsed, and was not' : 'the text was parsed, and is not';
    return [{ path, rule: 'unjudged', detail }];
  }

  #compareVariants(before: JsonSchema, after: JsonSchema, path: string): Finding[] {
    const [was, is] = [before, after].map(({ default: _, [PARSED]: __, [REFINEMENTS]: ___, ...rest }) =>
      variantsOf(rest),
    ) as [JsonSchema[], JsonSchema[]];
    const place = { direction: this.#direction, path, compare: this.#compare };
    const [single, otherSingle, ...more] = [...was, ...is];
    if (single && otherSingle && more.length === 0 && !isUnion(before) && !isUnion(after))
      return this.#compareSingle(single, otherSingle, path);
    return [...compareVariants(was, is, place), ...(after.oneOf ? overlapping(was, is, place) : [])];
  }

  #compareSingle(before: JsonSchema, after: JsonSchema, path: string): Finding[] {
    const byType = typeRule(before, after, this.#direction);
    if (byType.length > 0) return byType.map((found) => ({ ...found, path }));
    const place = { direction: this.#direction, path, compare: this.#compare };
    const byValue = valueRules.flatMap((rule) => rule(before, after, this.#direction));
    const isObject = [before, after].some((schema) => OF_OBJECTS.some((keyword) => Object.hasOwn(schema, keyword)));
    return [
      ...byValue.map((found) => ({ ...found, path })),
      ...(isObject ? compareObjects(before, after, place) : []),
      ...this.#items(before, after, path),
      ...(before.allOf || after.allOf ? compareMembers(membersOf(before), membersOf(after), place) : []),
    ];
  }

  #items(before: JsonSchema, after: JsonSchema, path: string): Finding[] {
    const [was, is] = [schemasOf(before.prefixItems), schemasOf(after.prefixItems)];
    if (was.length !== is.length) return [{ path, rule: 'unjudged', detail: 'the number of fixed items changed' }];
    return [
      ...was.flatMap((item, index) => this.#compare(item, is[index] ?? {}, `${path}[${index}]`)),
      ...(before.items === undefined && after.items === undefined
        ? []
        : this.#compare(schemaOf(before.items), schemaOf(after.items), `${path}[]`)),
    ];
  }
}

const isUnion = ({ anyOf, oneOf }: JsonSchema) => anyOf !== undefined || oneOf !== undefined;

/** The schema beside an allOf is one more member. Compared members have no allOf of their own, or a smaller one. */
const membersOf = ({ allOf, ...rest }: JsonSchema): JsonSchema[] =>
  Object.keys(rest).length === 0 ? schemasOf(allOf) : [rest, ...schemasOf(allOf)];

/** With oneOf, data that a new alternative matches, too, is no longer valid. */
function overlapping(
  before: readonly JsonSchema[],
  after: readonly JsonSchema[],
  { direction, path }: { direction: Direction; path: string },
): Finding[] {
  if (direction === 'produced' || isDeepStrictEqual(before, after)) return [];
  const overlap = after.some((each, index) => after.slice(index + 1).some((other) => !areDisjoint(each, other)));
  return overlap ? [{ path, rule: 'unjudged', detail: 'alternatives of oneOf may overlap' }] : [];
}
