// GET /docs: a page that shows an OpenAPI 3.1 and an AsyncAPI 3.0 document. Everything is in the HTML, so the page needs
// no script; the script adds a search.
import { html, type Markup } from '../../http/html.ts';
import { pageHeaders } from '../../http/security-headers.ts';
import { channelGroups, messageGroups, schemaAnchors, serverGroups } from './events.ts';
import { anchorOf, entriesOf, type Node, nodeOf, refName, type Source, textOf } from './node.ts';
import { operationGroups } from './operations.ts';
import { schemaTree } from './schema.ts';
import { entry, type Group, prose } from './text.ts';

export interface Page {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The documents, as parsed JSON. A document that is missing has no part on the page. */
interface DocsPageInput {
  readonly openapi?: object | undefined;
  readonly asyncapi?: object | undefined;
}

/** Paths of this server, as the browser reaches them. */
export interface DocsPageLinks {
  readonly style: string;
  readonly script: string;
  readonly openapi: string;
  readonly asyncapi: string;
}

/** A part of the page. */
interface Part {
  readonly id: string;
  readonly title: string;
  readonly groups: readonly Group[];
  /** Whether the contents of the page list its entries at once. */
  readonly listed: boolean;
}

const headers = {
  ...pageHeaders({ 'style-src': ["'self'"], 'script-src': ["'self'"] }),
  'Content-Type': 'text/html; charset=utf-8',
  'Cache-Control': 'no-cache',
};

interface Content {
  readonly title: string;
  /** Paths, as the browser reaches them. */
  readonly style: string;
  readonly script?: string;
  readonly body: Markup;
}

/** A whole HTML document that loads nothing from other sites. */
export const htmlPage = ({ title, style, script, body }: Content): Page => ({
  html: html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="stylesheet" href="${style}">
${
  script !== undefined &&
  html`<script src="${script}" type="module"></script>
`
}</head>
<body>
${body}</body>
</html>
`.text,
  headers,
});

/**
 * Renders the documents once. The returned function makes the page for a request, whose links depend on the path under
 * which a reverse proxy serves this server.
 */
export function docsPage({ openapi, asyncapi }: DocsPageInput): (links: DocsPageLinks) => Page {
  const parts = [...(openapi ? httpParts(nodeOf(openapi)) : []), ...(asyncapi ? eventParts(nodeOf(asyncapi)) : [])];
  const { title, version } = nodeOf(nodeOf(openapi ?? asyncapi).info);
  const name = [textOf(title) ?? 'API', textOf(version)].join(' ').trim();
  const abouts = [openapi, asyncapi].flatMap((document) => prose(nodeOf(nodeOf(document).info).description) ?? []);
  const main = html`${parts.map(partSection)}`;
  const contents = html`${parts.map(partContents)}`;
  return (links) =>
    htmlPage({
      title: `${name}: HTTP and events`,
      style: links.style,
      script: links.script,
      body: html`<a class="skip" href="#main">Skip to the content</a>
<header>
<h1>${name}</h1>
<p>Documents for programs: ${openapi && html`<a href="${links.openapi}">OpenAPI 3.1</a> `}${asyncapi && html`<a href="${links.asyncapi}">AsyncAPI 3.0</a>`}</p>
<search id="search" hidden>
<label for="query">Search <span class="quiet">(press / to start, Escape to clear)</span></label>
<input id="query" type="search" autocomplete="off" spellcheck="false">
<p id="found" role="status"></p>
</search>
</header>
<nav aria-label="Contents">
${contents}</nav>
<main id="main">
<section id="about">
${abouts}
</section>
${main}</main>
`,
    });
}

function httpParts(document: Node): Part[] {
  const schemaAnchor = (name: string) => anchorOf('http', 'schema', name);
  const source: Source = { kind: 'http', document, schemaAnchor };
  return [
    { id: 'http', title: 'HTTP', listed: true, groups: operationGroups(source) },
    schemasPart(source, 'Schemas of HTTP', []),
  ].filter(hasEntries);
}

function eventParts(document: Node): Part[] {
  const source: Source = { kind: 'events', document, schemaAnchor: schemaAnchors(document) };
  const messages = Object.values(nodeOf(nodeOf(document.components).messages));
  const payloads = messages.flatMap((message) => refName(nodeOf(message).payload) ?? []);
  return [
    { id: 'events', title: 'Events and messages', listed: true, groups: messageGroups(source) },
    { id: 'channels', title: 'Channels', listed: false, groups: channelGroups(source) },
    { id: 'servers', title: 'Servers', listed: false, groups: serverGroups(source) },
    schemasPart(source, 'Schemas of messages', payloads),
  ].filter(hasEntries);
}

const hasEntries = ({ groups }: Part) => groups.some(({ entries }) => entries.length > 0);

/** The named schemas except those that have another place on the page. */
function schemasPart(source: Source, title: string, elsewhere: readonly string[]): Part {
  const schemas = entriesOf(nodeOf(source.document.components).schemas).filter(([name]) => !elsewhere.includes(name));
  const entries = schemas
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, schema]) => ({
      id: source.schemaAnchor(name),
      heading: html`<code>${name}</code>`,
      body: schemaTree(schema, source),
    }));
  return { id: anchorOf(source.kind, 'schemas'), title, listed: false, groups: [{ title: 'By name', entries }] };
}

const partSection = ({ id, title, groups }: Part): Markup => html`<section id="${id}" class="part">
<h2>${title}</h2>
${groups.map(groupSection)}</section>
`;

const groupSection = ({ title, description, entries }: Group): Markup => html`<section class="group">
<h3>${title}</h3>
${description}
${entries.map(entry)}</section>
`;

const partContents = ({ title, groups, listed }: Part): Markup => html`<details${listed && html` open`}>
<summary>${title}</summary>
${groups.map(groupContents)}</details>
`;

const groupContents = ({ title, entries }: Group): Markup => html`<p>${title}</p>
<ul>
${entries.map(
  ({ id, heading }) => html`<li><a href="#${id}">${heading}</a></li>
`,
)}</ul>
`;
