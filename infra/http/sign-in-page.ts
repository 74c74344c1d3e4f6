// The page that a browser gets instead of a page that needs a token: a form that keeps a token in the session cookie.
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { html, Markup } from './html.ts';
import type { Problem } from './problem.ts';
import { pathFor } from './reverse-proxy.ts';
import { pageHeaders } from './security-headers.ts';
import { sendText } from './send.ts';

const STYLE = `body { max-width: 34rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color-scheme: light dark }
textarea, button { font: inherit; width: 100%; box-sizing: border-box }
button { margin-top: 1rem; padding: .6rem }`;

const headers = pageHeaders({
  'style-src': [`'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`],
  'form-action': ["'self'"],
});

/** Whether the form may name this path: see contracts/session.ts. */
const isPath = (path = ''): boolean => /^\/(?:[!-.0-[\]-~][!-~]{0,499})?$/.test(path);

/** With the status and headers of the problem that a program would get. After signing in, the same path is shown. */
export function sendSignInPage(request: IncomingMessage, response: ServerResponse, { status, details }: Problem): void {
  const isRejected = details.headers?.['WWW-Authenticate']?.includes('invalid_token');
  const explanation = isRejected ? details.detail : 'This page needs a token.';
  const { text } = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
<h1>Sign in</h1>
<p>${explanation}</p>
<form method="post" action="${pathFor(request, '/session')}">
<label for="token">Token</label>
<textarea id="token" name="token" rows="6" required maxlength="8192" autocomplete="off" spellcheck="false"></textarea>
${isPath(request.url) && html`<input type="hidden" name="returnTo" value="${request.url}">`}
<button>Sign in</button>
</form>
</main>
</body>
</html>
`;
  const type = { 'Content-Type': 'text/html; charset=utf-8', Vary: 'Accept' };
  sendText(response, status, { ...headers, ...details.headers, ...type }, text);
}
