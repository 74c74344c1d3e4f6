// A JSON Schema as a tree: each field with its type, whether it is required, its constraints and its description.
import { html, type Markup } from '../../http/html.ts';
import { entriesOf, listOf, type Node, nodeOf, refName, type Source, textOf } from './node.ts';
import { commas, inline, plain } from './text.ts';

/** The tree of a schema: its type first, then its fields. */
export const schemaTree = (schema: unknown, source: Source): Markup => html`<ul class="tree">
<li>${summary(schema, source)}${children(schema, source)}</li>
</ul>
`;

/** One line for each field of an object. */
function field(name: Markup, schema: unknown, source: Source, required: boolean): Markup {
  return html`<li>${name} ${required && html`<strong>required</strong> `}${summary(schema, source)}${children(schema, source)}</li>
`;
}

/** A parameter or header as a line of a tree. `place`: such as `query`. */
export const parameterLine = (name: string, parameter: Node, source: Source, place?: string): Markup => {
  const schema = {
    ...nodeOf(parameter.schema),
    ...(parameter.description ? { description: parameter.description } : {}),
  };
  const label = html`<code class="name">${name}</code>${place !== undefined && html` <span class="quiet">${place}</span>`}`;
  return field(label, schema, source, parameter.required === true);
};

/** Type, constraints and description. */
function summary(schema: unknown, source: Source): Markup {
  const node = nodeOf(schema);
  const limits = constraints(node);
  const description = textOf(node.description);
  return html`<span class="type">${typeOf(schema, source)}</span>${limits.length > 0 && html`<span class="limits">, ${commas(limits)}</span>`}${description !== undefined && html`<span class="about">: ${inline(description)}</span>`}`;
}

/** The type in words, such as `array of string`; of a reference, a link to the schema. */
function typeOf(schema: unknown, source: Source): Markup {
  const node = nodeOf(schema);
  const named = refName(node);
  if (named !== undefined) return html`<a href="#${source.schemaAnchor(named)}">${named}</a>`;
  if (schema === false) return html`nothing`;
  if (node.const !== undefined) return html`<code>${plain(node.const)}</code>`;
  const { items } = node;
  if (node.type === 'array' && items !== undefined) return html`array of ${typeOf(items, source)}`;
  const alternatives = alternativesOf(node);
  if (alternatives.length > 0 && alternatives.every(isShort)) {
    const types = alternatives.map((each) => typeOf(each, source));
    return html`${types.map((type, index) => (index === 0 ? type : html` or ${type}`))}`;
  }
  const types = [node.type].flat().flatMap((type) => textOf(type) ?? []);
  const name =
    types.join(' or ') || (node.properties || node.allOf ? 'object' : alternatives.length > 0 ? 'one of' : 'any');
  const format = textOf(node.format);
  return html`${name}${format !== undefined && html` (${format})`}`;
}

const alternativesOf = (node: Node): readonly unknown[] => [...listOf(node.anyOf), ...listOf(node.oneOf)];
/** Whether a type says everything, so that it needs no line of its own. */
const isShort = (schema: unknown): boolean => {
  const node = nodeOf(schema);
  return (
    refName(node) !== undefined || (node.properties === undefined && constraints(node).length === 0 && !node.items)
  );
};

/** Keywords with a number, and the words before it. */
const bounds: readonly (readonly [keyword: string, words: string])[] = [
  ['minimum', '≥'],
  ['maximum', '≤'],
  ['exclusiveMinimum', '>'],
  ['exclusiveMaximum', '<'],
  ['multipleOf', 'a multiple of'],
  ['minLength', 'length ≥'],
  ['maxLength', 'length ≤'],
  ['minItems', 'items ≥'],
  ['maxItems', 'items ≤'],
  ['minProperties', 'fields ≥'],
  ['maxProperties', 'fields ≤'],
];

function constraints(node: Node): Markup[] {
  const values = listOf(node.enum);
  return [
    ...(values.length > 0 ? [html`one of ${commas(values.map((value) => html`<code>${plain(value)}</code>`))}`] : []),
    ...bounds.flatMap(([keyword, words]) => {
      const value = node[keyword];
      return typeof value === 'number' && !isSafeBound(value) ? [html`${words} ${value.toLocaleString('en')}`] : [];
    }),
    ...(textOf(node.pattern) === undefined ? [] : [html`matches <code>${textOf(node.pattern)}</code>`]),
    ...(node.default === undefined ? [] : [html`default <code>${plain(node.default)}</code>`]),
    ...(node.uniqueItems === true ? [html`without duplicates`] : []),
    ...(node.additionalProperties === false ? [html`no other fields`] : []),
    ...(node.deprecated === true ? [html`deprecated`] : []),
  ];
}

/** The integers that a JavaScript number holds exactly: a limit of every integer here, so not worth a mention. */
const isSafeBound = (value: number): boolean => Math.abs(value) === Number.MAX_SAFE_INTEGER;

/** The lines below a schema: its fields, those of its items, and its alternatives. */
function children(schema: unknown, source: Source): Markup | false {
  const lines = linesOf(schema, source);
  return (
    lines.length > 0 &&
    html`
<ul>
${lines}</ul>
`
  );
}

function linesOf(schema: unknown, source: Source): Markup[] {
  const node = nodeOf(schema);
  if (refName(node) !== undefined) return [];
  const required = new Set(listOf(node.required));
  const { items, additionalProperties: others } = node;
  const alternatives = alternativesOf(node);
  return [
    ...entriesOf(node.properties).map(([name, value]) =>
      field(html`<code class="name">${name}</code>`, value, source, required.has(name)),
    ),
    ...(Object.keys(nodeOf(others)).length > 0 ? [field(html`<em>any other field</em>`, others, source, false)] : []),
    ...(items === undefined ? [] : itemLines(items, source)),
    ...listOf(node.allOf).flatMap((part) =>
      refName(part) === undefined ? linesOf(part, source) : [field(html`<em>all fields of</em>`, part, source, false)],
    ),
    ...(alternatives.every(isShort)
      ? []
      : alternatives.map((each, index) => field(html`<em>alternative ${index + 1}</em>`, each, source, false))),
  ];
}

/** The fields of an array's items; a line for the items themselves only if they have constraints or a description. */
function itemLines(items: unknown, source: Source): Markup[] {
  const node = nodeOf(items);
  if (refName(node) !== undefined) return [];
  if (constraints(node).length > 0 || node.description !== undefined)
    return [field(html`<em>each</em>`, items, source, false)];
  return linesOf(items, source);
}
