// GET /openapi.json, GET /asyncapi.json, GET /docs and the files of that page, and GET /problems/:name. The documents do
// not change while the process runs, so each is built once, at the first request: a start takes no longer for them.
import { readFile } from 'node:fs/promises';
import { documentRoutes as routes } from '../../contracts/routes/documents.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { pathFor } from '../../infra/http/reverse-proxy.ts';
import { sendText } from '../../infra/http/send.ts';
import type { AsyncApiScope } from './asyncapi.ts';

/** The files are read at the first request, like the documents. They may be cached, but not without a check. */
const fileHeaders = { 'Cache-Control': 'no-cache' };

interface Scope extends AsyncApiScope {
  /** The services whose routes the process serves. */
  readonly web: readonly ServiceName[];
  /** Whether requests need a token. */
  readonly withTokens: boolean;
}

export function serveDocuments(api: Api, scope: Scope): void {
  const openapi = once(async () => (await import('./openapi.ts')).openApiOf(scope.web, scope.withTokens));
  const asyncapi = once(async () => (await import('./asyncapi.ts')).asyncApiOf(scope));
  const pageFor = once(async () => {
    const { docsPage } = await import('../../infra/documents/page/page.ts');
    return docsPage({ openapi: await openapi(), asyncapi: await asyncapi() });
  });

  api.handle(routes.readOpenApi, async () => reply(200, { ...(await openapi()) }, fileHeaders));
  api.handle(routes.readAsyncApi, async () => reply(200, { ...(await asyncapi()) }, fileHeaders));
  api.handle(routes.readDocs, async (_input, request, response) => {
    const { html, headers } = (await pageFor())({
      style: pathFor(request, routes.readDocsStyle.path),
      script: pathFor(request, routes.readDocsScript.path),
      openapi: pathFor(request, routes.readOpenApi.path),
      asyncapi: pathFor(request, routes.readAsyncApi.path),
    });
    sendText(response, 200, headers, html);
    return undefined;
  });
  api.handle(routes.readProblem, async ({ params }, request, response) => {
    const { problemPage } = await import('./problem-page.ts');
    const links = { style: pathFor(request, routes.readDocsStyle.path), docs: pathFor(request, routes.readDocs.path) };
    const { html, headers } = problemPage(params.name, Object.values(routesOf(scope.web)), links);
    sendText(response, 200, headers, html);
    return undefined;
  });
  for (const [route, file] of [
    [routes.readDocsStyle, 'docs.css'],
    [routes.readDocsScript, 'docs.js'],
  ] as const) {
    const text = once(() => readFile(new URL(`../../infra/documents/page/browser/${file}`, import.meta.url), 'utf8'));
    api.handle(route, async (_input, _request, response) => {
      const [type] = route.responses[200].media;
      sendText(response, 200, { ...fileHeaders, 'Content-Type': `${type}; charset=utf-8` }, await text());
      return undefined;
    });
  }
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
