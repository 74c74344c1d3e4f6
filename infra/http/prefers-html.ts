// Tells a browser, which gets pages, from a program, which gets JSON.
import type { IncomingMessage } from 'node:http';
import accepts from 'accepts';

/** Whether the Accept header prefers text/html to application/json. Checks first for the common case without HTML. */
export function prefersHtml(request: IncomingMessage): boolean {
  if (!request.headers.accept?.includes('text/html')) return false;
  return accepts(request).type('application/json', 'text/html') === 'text/html';
}
