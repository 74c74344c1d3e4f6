// The frame of all pages, and the headers that restrict a page to its own style and script.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { html, Markup } from '../../../infra/http/html.ts';
import { pageHeaders } from '../../../infra/http/security-headers.ts';

/** A document and the headers to send with it. */
export interface Page {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

// A browser computes the hash of the parsed text, in which every line ends with a single line feed.
const read = (name: string) =>
  readFileSync(new URL(`./browser/${name}`, import.meta.url), 'utf8').replaceAll('\r\n', '\n');

/** A style or script to embed in a page, and the source expression that allows it in the Content-Security-Policy. */
function inline(text: string) {
  const hash = createHash('sha256').update(text).digest('base64');
  return { text: new Markup(text), source: `'sha256-${hash}'` };
}

const style = inline(read('style.css'));

/** The headers of a page with this script, or with none. */
function headersFor(script?: { readonly source: string }): Page['headers'] {
  return {
    ...pageHeaders({
      'style-src': [style.source],
      ...(script && { 'script-src': [script.source], 'connect-src': ["'self'"] }),
      'form-action': ["'self'"],
    }),
    'Content-Type': 'text/html; charset=utf-8',
    'Cache-Control': 'no-store',
    // The same addresses send JSON to programs.
    Vary: 'Accept',
  };
}
const headersWithoutScript = headersFor();

type Script = ReturnType<typeof script>;

/** A script of `browser/`; the text of each file that it imports from there replaces the import. */
export function script(name: string) {
  const whole = read(name).replace(/^import .* from '\.\/(.+)';$/gm, (_line, imported: string) =>
    read(imported).trimEnd(),
  );
  const inlined = inline(whole.replace(/^export /gm, ''));
  return { ...inlined, headers: headersFor(inlined) };
}

interface Content {
  readonly title: string;
  /** Contains the only `h1`. */
  readonly body: Markup;
  readonly script?: Script;
  /** For browsers that run no scripts; unset if the page cannot change any more. */
  readonly refreshSeconds?: number | undefined;
}

/** A whole document. */
export function page({ title, body, script, refreshSeconds }: Content): Page {
  const document = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
${refreshSeconds !== undefined && html`<noscript><meta http-equiv="refresh" content="${refreshSeconds}"></noscript>`}
<style>${style.text}</style>
</head>
<body>
${body}
${script && html`<script type="module">${script.text}</script>`}
</body>
</html>
`;
  return { html: document.text, headers: script?.headers ?? headersWithoutScript };
}
