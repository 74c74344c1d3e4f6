// GET /asyncapi.json, GET /docs and the files of that page. The documents do not change while the process runs, so each
// is built once, at the first request: a start takes no longer for them.
import { readFile } from 'node:fs/promises';
import type { RequestHandler, Router } from 'express';
import type { DocsPage, DocsPageLinks } from '../../infra/documents/page/page.ts';
import { route } from '../../infra/http/app.ts';
import { pathFor } from '../../infra/http/reverse-proxy.ts';
import type { AsyncApiScope } from './asyncapi.ts';

const STYLE = '/docs/style.css';
const SCRIPT = '/docs/script.js';

/** The files are read at the first request, like the documents. They may be cached, but not without a check. */
const fileHeaders = { 'Cache-Control': 'no-cache', 'X-Content-Type-Options': 'nosniff' };

export function documentRoutes(router: Router, scope: AsyncApiScope): void {
  const asyncapi = once(async () => (await import('./asyncapi.ts')).asyncApiOf(scope));
  const asyncapiText = once(async () => JSON.stringify(await asyncapi()));
  const pageFor = once(() => openPage(asyncapi));

  const get = (path: string, handler: RequestHandler) => route(router, path, { get: handler });

  get('/asyncapi.json', async (_request, response) => {
    response
      .set(fileHeaders)
      .type('json')
      .send(await asyncapiText());
  });

  get('/docs', async (request, response) => {
    const { html, headers } = (await pageFor())({
      style: pathFor(request, STYLE),
      script: pathFor(request, SCRIPT),
      openapi: pathFor(request, '/openapi.json'),
      asyncapi: pathFor(request, '/asyncapi.json'),
    });
    response.set(headers).send(html);
  });

  for (const [path, file] of [
    [STYLE, 'docs.css'],
    [SCRIPT, 'docs.js'],
  ] as const) {
    const text = once(() => readFile(new URL(`../../infra/documents/page/browser/${file}`, import.meta.url), 'utf8'));
    get(path, async (_request, response) => {
      response
        .set(fileHeaders)
        .type(path.endsWith('.css') ? 'css' : 'js')
        .send(await text());
    });
  }
}

async function openPage(asyncapi: () => Promise<object>): Promise<(links: DocsPageLinks) => DocsPage> {
  const { docsPage } = await import('../../infra/documents/page/page.ts');
  return docsPage({ asyncapi: await asyncapi() });
}

/** Calls `create` at the first call and keeps its result; after a failure, the next call tries again. */
function once<T>(create: () => Promise<T>): () => Promise<T> {
  let created: Promise<T> | undefined;
  return () => {
    created ??= create().catch((error: unknown) => {
      created = undefined;
      throw error;
    });
    return created;
  };
}
