// The redirect after a form.
import type { ServerResponse } from 'node:http';
import { html } from './html.ts';
import { pathFor } from './reverse-proxy.ts';
import { sendText } from './send.ts';

/** A browser follows the location, a path of this server; the page is for a client that shows it instead. */
export function seeOther(response: ServerResponse, path: string): void {
  const location = pathFor(response.req, path);
  const { text } = html`<!doctype html><title>See other</title><p><a href="${location}">Continue</a></p>`;
  const headers = { 'Content-Type': 'text/html; charset=utf-8', Location: location, Vary: 'Accept' };
  sendText(response, 303, headers, text);
}
