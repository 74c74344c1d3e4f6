// Texts, examples and other small parts of the page.
import { html, type Markup } from '../../http/html.ts';
import { groupBy } from '../../runtime/collections.ts';
import { entriesOf, listOf, type Node, nodeOf, resolve, textOf } from './node.ts';

/** A description: paragraphs, lists with `-`, and code in backquotes, which is what these documents use of Markdown. */
export function prose(text: unknown): Markup | undefined {
  const blocks =
    textOf(text)
      ?.trim()
      .split(/\n\s*\n/) ?? [];
  return blocks[0] ? html`${blocks.map(block)}` : undefined;
}

function block(text: string): Markup {
  const items = text.split(/^- /m);
  if (items.length < 2 || items[0]?.trim()) return html`<p>${inline(text)}</p>`;
  return html`<ul>${items.slice(1).map((item) => html`<li>${inline(item.trim())}</li>`)}</ul>`;
}

export const inline = (text: string): Markup =>
  html`${text.split(/`([^`]+)`/).map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : html`${part}`))}`;

/** Joins parts with a comma. */
export const commas = (parts: readonly Markup[]): Markup =>
  html`${parts.map((part, index) => (index === 0 ? part : html`, ${part}`))}`;

/** A value as a reader would write it: text as it is, anything else as JSON. */
export const plain = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** What search shows or hides as a whole. `heading` is short. */
export interface Entry {
  readonly id: string;
  readonly heading: Markup;
  readonly body: Markup;
}

/** Entries under a heading. */
export interface Group {
  readonly title: string;
  readonly description?: Markup | undefined;
  readonly entries: readonly Entry[];
}

/** Groups by title, in the order in which the titles first come. */
export const grouped = (entries: readonly (readonly [title: string, entry: Entry])[]): Group[] =>
  [...groupBy(entries, ([title]) => title)].map(([title, its]) => ({ title, entries: its.map(([, each]) => each) }));

export const entry = ({ id, heading, body }: Entry): Markup => html`<article class="entry" id="${id}">
<h4><a href="#${id}">${heading}</a></h4>
${body}
</article>
`;

/** The examples of a media type or message: of a field `examples` in either form, and `example`. */
export function examples({ example, examples: several }: Node, document: Node): Markup[] {
  const named = Array.isArray(several)
    ? listOf(several).map((each) => [textOf(nodeOf(each).name) ?? '', each] as const)
    : entriesOf(several);
  return [
    ...(example === undefined ? [] : [shown('', example)]),
    ...named.map(([name, each]) => {
      const { summary, value, payload } = resolve(document, each);
      return shown(textOf(summary) ?? name, value ?? payload ?? each);
    }),
  ];
}

const shown = (name: string, value: unknown): Markup =>
  html`<details><summary>Example${name && html` <span class="quiet">${name}</span>`}</summary>
<pre tabindex="0"><code>${typeof value === 'string' ? value : JSON.stringify(value, null, 2)}</code></pre></details>
`;

/** Fields and their values, such as bindings; an object within one is JSON. */
export const facts = (pairs: readonly (readonly [string, unknown])[]): Markup | false =>
  pairs.length > 0 &&
  html`<dl>${pairs.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value instanceof Object && !Array.isArray(value) ? factsIn(value) : html`<code>${listed(value)}</code>`}</dd></div>`)}</dl>`;

const factsIn = (value: object): Markup => html`${facts(entriesOf(value))}`;
const listed = (value: unknown): string => (Array.isArray(value) ? value.map(plain).join(', ') : plain(value));

/** The extensions of an object: its fields that begin with `x-`. */
export const extensions = (node: Node): (readonly [string, unknown])[] =>
  entriesOf(node)
    .filter(([name]) => name.startsWith('x-'))
    .map(([name, value]) => [name.slice(2).replaceAll('-', ' '), value]);
