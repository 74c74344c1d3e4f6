// The HTTP operations of an OpenAPI 3.1 document, by tag.
import { html, type Markup } from '../../http/html.ts';
import { anchorOf, entriesOf, listOf, type Node, nodeOf, refName, resolve, type Source, textOf } from './node.ts';
import { parameterLine, schemaTree } from './schema.ts';
import { commas, type Entry, examples, extensions, facts, type Group, grouped, inline, plain, prose } from './text.ts';

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'] as const;

/** Operations without a tag. */
const UNTAGGED = 'Other';

/** The operations by their first tag, in the order of the document's tags, then of the paths. */
export function operationGroups(source: Source): Group[] {
  const { document } = source;
  const tags = listOf(document.tags).map(nodeOf);
  const order = tags.map(({ name }) => name);
  const rank = ({ title }: Group) => (order.includes(title) ? order.indexOf(title) : order.length);
  const entries = entriesOf(document.paths).flatMap(([path, item]) => {
    const node = resolve(document, item);
    return METHODS.filter((method) => node[method] !== undefined).map((method) => {
      const operation = nodeOf(node[method]);
      const tag = textOf(listOf(operation.tags)[0]) ?? UNTAGGED;
      return [tag, operationEntry({ source, method, path, operation, shared: listOf(node.parameters) })] as const;
    });
  });
  return grouped(entries)
    .map((group) => ({ ...group, description: prose(tags.find(({ name }) => name === group.title)?.description) }))
    .sort((a, b) => rank(a) - rank(b));
}

interface Shown {
  readonly source: Source;
  readonly method: string;
  readonly path: string;
  readonly operation: Node;
  /** The parameters of the path. */
  readonly shared: readonly unknown[];
}

function operationEntry({ source, method, path, operation, shared }: Shown): Entry {
  const { document } = source;
  const summary = textOf(operation.summary);
  const parameters = [...shared, ...listOf(operation.parameters)].map((each) => resolve(document, each));
  const body = operation.requestBody === undefined ? undefined : resolve(document, operation.requestBody);
  const answers = entriesOf(operation.responses).map(
    ([status, answer]) => [status, resolve(document, answer)] as const,
  );
  return {
    id: anchorOf(source.kind, method, path),
    heading: html`<code><span class="method">${method.toUpperCase()}</span> ${path}</code>`,
    body: html`${operation.deprecated === true && html`<p><strong>Deprecated.</strong></p>`}
${summary !== undefined && html`<p>${inline(summary)}</p>`}
${prose(operation.description)}
${access(operation.security ?? document.security)}
${facts(extensions(operation))}
${
  parameters.length > 0 &&
  html`<h5>Parameters</h5>
<ul class="tree">
${parameters.map((each) => parameterLine(textOf(each.name) ?? '', each, source, textOf(each.in)))}</ul>
`
}
${
  body &&
  html`<h5>Body${body.required !== true && html` <span class="quiet">optional</span>`}</h5>
${prose(body.description)}
${mediaTypes(body.content, source)}`
}
<h5>Answers</h5>
${answers.map(([status, answer]) => answerOf(status, answer, source))}`,
  };
}

/** The requirements of an operation: any one of them is enough. */
function access(security: unknown): Markup | false {
  if (!Array.isArray(security)) return false;
  const alternatives = security.map((each) => {
    const schemes = entriesOf(each).map(([name, scopes]) => [name, ...listOf(scopes).map(plain)].join(' '));
    return html`${schemes.join(' and ') || 'nothing'}`;
  });
  return html`<p class="quiet">Needs: ${alternatives.length > 0 ? html`${alternatives.map((each, index) => (index === 0 ? each : html` or ${each}`))}` : 'nothing'}</p>`;
}

function answerOf(status: string, answer: Node, source: Source): Markup {
  const problems = problemTypes(answer, source.document);
  const headers = entriesOf(answer.headers).map(([name, header]) => [name, resolve(source.document, header)] as const);
  return html`<details class="answer">
<summary><code class="status">${status}</code> ${inline(textOf(answer.description) ?? '')}${problems.length > 0 && html` <span class="problems">${commas(problems.map((type) => html`<code>${type}</code>`))}</span>`}</summary>
${facts(extensions(answer))}
${
  headers.length > 0 &&
  html`<h6>Headers</h6>
<ul class="tree">
${headers.map(([name, header]) => parameterLine(name, header, source))}</ul>
`
}
${mediaTypes(answer.content, source)}
</details>
`;
}

function mediaTypes(content: unknown, source: Source): Markup[] {
  return entriesOf(content).map(([type, value]) => {
    const media = nodeOf(value);
    return html`<p><code>${type}</code></p>
${media.schema !== undefined && schemaTree(media.schema, source)}
${examples(media, source.document)}`;
  });
}

/**
 * The types of the problem details (RFC 9457) that an answer may have: what its schema allows as `type`, or what its
 * examples have.
 */
function problemTypes(answer: Node, document: Node): string[] {
  const { schema, example, examples: several } = nodeOf(nodeOf(answer.content)['application/problem+json']);
  const given = [example, ...entriesOf(several).map(([, each]) => resolve(document, each).value)];
  const ofExamples = given.flatMap((each) => textOf(nodeOf(each).type) ?? []);
  return [...new Set([...typesAllowed(schema, document, new Set()), ...ofExamples])];
}

/** `seen`: references on the way here, because a schema may refer to itself. */
function typesAllowed(schema: unknown, document: Node, seen: ReadonlySet<string>): string[] {
  const name = refName(schema);
  if (name !== undefined && seen.has(name)) return [];
  const known = name === undefined ? seen : new Set([...seen, name]);
  const node = resolve(document, schema);
  const type = resolve(document, nodeOf(node.properties).type);
  const own = [type.const, ...listOf(type.enum)].flatMap((value) => textOf(value) ?? []);
  const parts = [...listOf(node.allOf), ...listOf(node.anyOf), ...listOf(node.oneOf)];
  return [...own, ...parts.flatMap((part) => typesAllowed(part, document, known))];
}
