// The frame that all pages share, and the headers that keep a page to what it brings along.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { html, Markup } from '../../../infra/http/html.ts';

/** Sent with its headers as they are; the status is the route's. */
export interface Page {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Something to be written into a page, and the source expression that allows it there. */
export interface Inline {
  readonly text: Markup;
  readonly source: string;
}

// A browser hashes what its parser has made of the text: with line feeds only.
const read = (name: string) =>
  readFileSync(new URL(`./browser/${name}`, import.meta.url), 'utf8').replaceAll('\r\n', '\n');

function inline(text: string): Inline {
  const hash = createHash('sha256').update(text).digest('base64');
  return { text: new Markup(text), source: `'sha256-${hash}'` };
}

/** A script of `browser/`, with what it imports from there put in the place of the import. */
export function script(name: string): Inline {
  const whole = read(name).replace(/^import .* from '\.\/(.+)';$/gm, (_line, imported: string) =>
    read(imported).trimEnd(),
  );
  return inline(whole.replace(/^export /gm, ''));
}

const style = inline(read('style.css'));

/**
 * A whole document. `refreshSeconds` is for browsers that run no scripts, and unset where nothing more will happen.
 * `body` holds the only `h1`.
 */
export function page(parts: {
  title: string;
  body: Markup;
  script?: Inline;
  refreshSeconds?: number | undefined;
}): Page {
  const { title, body, script, refreshSeconds } = parts;
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
  const policy = [
    "default-src 'none'",
    `style-src ${style.source}`,
    ...(script ? [`script-src ${script.source}`, "connect-src 'self'"] : []),
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ];
  return {
    html: document.text,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy': policy.join('; '),
      'Cache-Control': 'no-store',
      'Referrer-Policy': 'same-origin',
      'X-Content-Type-Options': 'nosniff',
      // The same addresses answer programs in JSON.
      Vary: 'Accept',
    },
  };
}
