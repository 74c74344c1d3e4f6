// Reads documents whose shape is known only by their specification: a value of another kind counts as absent.

export type Node = { readonly [key: string]: unknown };

/** A document, and the anchors of the parts that references in it lead to. */
export interface Source {
  /** Anchors begin with it. */
  readonly kind: 'http' | 'events';
  readonly document: Node;
  /** The anchor of a named schema. */
  readonly schemaAnchor: (name: string) => string;
}

export const nodeOf = (value: unknown): Node =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Node) : {};
export const entriesOf = (value: unknown): (readonly [string, unknown])[] => Object.entries(nodeOf(value));
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** The last part of a reference: `Order` of `#/components/schemas/Order`. Undefined if the value is no reference. */
export const refName = (value: unknown): string | undefined =>
  textOf(nodeOf(value).$ref)?.split('/').at(-1)?.replaceAll('~1', '/').replaceAll('~0', '~');

/** References that lead to references; more are a cycle. */
const MAX_HOPS = 8;

/** The object that a reference within the document leads to; any other value as it is. */
export function resolve(document: Node, value: unknown): Node {
  let node = nodeOf(value);
  for (let hop = 0; hop < MAX_HOPS; hop++) {
    const target = textOf(node.$ref);
    if (!target?.startsWith('#/')) return node;
    const path = target
      .slice(2)
      .split('/')
      .map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~'));
    node = nodeOf(path.reduce<unknown>((at, key) => nodeOf(at)[key], document));
  }
  return {};
}

/** The id of a part of the page, also as the fragment of a link. */
export const anchorOf = (...parts: readonly string[]): string =>
  parts
    .join('.')
    .replaceAll('/', '.')
    .replace(/[^A-Za-z0-9._-]/g, '')
    .replace(/\.{2,}/g, '.');
