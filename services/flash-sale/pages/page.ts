// The frame of all pages, and the headers that restrict a page to its own style and script.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { html, Markup } from '../../../infra/http/html.ts';

/** A document and the headers to send with it. */
export interface Page {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

// A browser computes the hash of the parsed text, in which every line ends with a single line feed.
const read = (name: string) =>
  readFileSync(new URL(`./browser/${name}`, import.meta.url), 'utf8').replaceAll('\r\n', '\n');

type Inline = ReturnType<typeof inline>;

/** A style or script to embed in a page, and the source expression that allows it in the Content-Security-Policy. */
function inline(text: string) {
  const hash = createHash('sha256').update(text).digest('base64');
  return { text: new Markup(text), source: `'sha256-${hash}'` };
}

/** A script of `browser/`; the text of each file that it imports from there replaces the import. */
export function script(name: string): Inline {
  const whole = read(name).replace(/^import .* from '\.\/(.+)';$/gm, (_line, imported: string) =>
    read(imported).trimEnd(),
  );
  return inline(whole.replace(/^export /gm, ''));
}

const style = inline(read('style.css'));

interface Content {
  readonly title: string;
  /** Contains the only `h1`. */
  readonly body: Markup;
  readonly script?: Inline;
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
      // The same addresses send JSON to programs.
      Vary: 'Accept',
    },
  };
}
