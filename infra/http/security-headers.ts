// The headers with which a browser treats a response as no more than it is. HSTS is not among them: it
// binds all ports of a host to TLS, so the proxy in front decides on it.
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import helmet from 'helmet';

/**
 * For all responses but pages: no browser renders them, takes them for another type, embeds them in another site or
 * stores them. Few and constant, because most responses of a flood are rejections. Pages of other origins that may call
 * this server (CORS_ORIGINS) read them all the same: Cross-Origin-Resource-Policy does not apply to CORS requests.
 */
export const securityHeaders = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
} as const;

/** Sources by directive of a Content-Security-Policy. */
type Directives = Readonly<Record<string, readonly string[]>>;

const NONE = ["'none'"];
const strict: Directives = {
  'default-src': NONE,
  'base-uri': NONE,
  'form-action': NONE,
  'frame-ancestors': NONE,
  'object-src': NONE,
};

/** The headers of a page, by helmet. `directives`: what its policy allows. They do not depend on the request. */
export function pageHeaders(directives: Directives): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  const request = new IncomingMessage(new Socket());
  const response = new ServerResponse(request);
  response.setHeader = (name, value) => {
    headers[name] = String(value);
    return response;
  };
  helmet({
    contentSecurityPolicy: { useDefaults: false, directives: { ...strict, ...directives } },
    // With no-referrer, a browser would send `Origin: null` with the page's own forms.
    referrerPolicy: { policy: 'same-origin' },
    frameguard: { action: 'deny' },
    strictTransportSecurity: false,
  })(request, response, () => undefined);
  return headers;
}
