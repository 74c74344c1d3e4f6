// The OpenAPI 3.1 document of the routes, from their declarations.
import { z } from 'zod';
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiResponsesObject } from 'zod-openapi';
import { type ProblemKind, type ProblemName, problem, problems } from '../../contracts/problems.ts';
import { type ResponseHeader, responseHeaders } from '../../contracts/response-headers.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import { type Answer, problemsOf, type Route } from '../../contracts/routes/route.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { SESSION_COOKIE } from '../../infra/http/session-cookie.ts';
import { groupBy } from '../../infra/runtime/collections.ts';
import { about } from './about.ts';

const ABOUT = `Place orders, sell in flash sales, and operate the system.

- Money is an integer in the currency's minor unit: \`1999\` is £19.99. Times are ISO 8601 in UTC. Ids are UUIDs, except
  those of users.
- Lists are newest first, except the facts of an audit, which are in the order of their ids; \`next\` is the cursor for
  \`?after=\`, and null on the last page.
- Errors are RFC 9457 problem details; \`errors\` names each invalid field. An unknown field in a request is an error;
  a response may gain fields.
- No string of a request may contain U+0000 or a lone surrogate.
- With AUTH_MODE=jwt, a request carries a token, a JWT, in the header Authorization; browsers keep it in a cookie. What
  belongs to another user is a 404, as if it did not exist.
- A path that does not exist gets a 404 \`not-found\`, another method a 405 \`method-not-allowed\`.
`;

type OpenApiDocument = ReturnType<typeof createDocument>;

/** The ways to present a token: either one is enough. */
const securitySchemes = {
  token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  session: { type: 'apiKey', in: 'cookie', name: SESSION_COOKIE },
} as const;
const security = Object.keys(securitySchemes).map((scheme) => ({ [scheme]: [] }));

/**
 * Of a process that serves these services over HTTP, `withTokens` or without access control. The name of a route is its
 * `operationId`.
 */
export function openApiOf(services: readonly ServiceName[], withTokens = true): OpenApiDocument {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const [operationId, route] of Object.entries(routesOf(services))) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    const operation = {
      operationId,
      ...operationOf(route),
      ...(withTokens && route.access !== 'public' && { security }),
    };
    paths[path] = { ...paths[path], [route.method]: operation };
  }
  return createDocument(
    { openapi: '3.1.1', info: { ...about(ABOUT) }, paths, ...(withTokens && { components: { securitySchemes } }) },
    {
      // A client must accept fields that a newer server adds.
      override: ({ jsonSchema, io }) => {
        if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      },
    },
  );
}

function operationOf(route: Route): ZodOpenApiOperationObject {
  const { path, summary, description, params, query, body, idempotencyKey } = route;
  const media = [...(body ? ['application/json'] : []), ...(body?.form ? ['application/x-www-form-urlencoded'] : [])];
  return {
    tags: [path.split('/')[1] ?? ''],
    summary,
    ...(description && { description }),
    'x-access': route.access,
    requestParams: {
      ...(params && { path: z.object(mapValues(params, ({ schema }) => schema)) }),
      ...(query && { query: query as z.ZodObject }),
      ...(idempotencyKey && { header: z.object({ 'Idempotency-Key': idempotencyKey }) }),
    },
    ...(body && {
      requestBody: {
        required: body.optional !== true,
        content: Object.fromEntries(
          media.map((type) => [type, { schema: body.schema, ...(body.example && { example: body.example }) }]),
        ),
      },
    }),
    responses: { ...mapValues(route.responses, responseOf), ...problemResponses(route) },
  };
}

const mapValues = <V, W>(values: Readonly<Record<string, V>>, map: (value: V) => W): Record<string, W> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]));

function responseOf({ about, json, media = [], headers = [] }: Answer): ZodOpenApiResponsesObject['200'] {
  return {
    description: about,
    content: {
      ...(json && { 'application/json': { schema: json } }),
      ...Object.fromEntries(media.map((type) => [type, { schema: { type: 'string' } }])),
    },
    headers: headersNamed(headers),
  };
}

const headersNamed = (names: readonly ResponseHeader[]) =>
  Object.fromEntries(
    names.map((name) => [name, { description: responseHeaders[name], schema: { type: 'string' as const } }]),
  );

/** The headers of any of these problems, if they have some. */
function headersOf(names: readonly ProblemName[]) {
  const headers = names.map((name): ProblemKind => problems[name]).flatMap(({ headers = [] }) => headers);
  return headers.length > 0 && { headers: headersNamed(headers) };
}

/** The problems of a route by their status. */
function problemResponses(route: Route): ZodOpenApiResponsesObject {
  const byStatus = groupBy(problemsOf(route), (name) => problems[name].status);
  return Object.fromEntries(
    [...byStatus]
      .filter(([status]) => !(status in route.responses))
      .map(([status, names]) => [
        status,
        {
          description: names.map((name) => `- \`${name}\`: ${problems[name].about}`).join('\n'),
          content: { 'application/problem+json': { schema: problem } },
          ...headersOf(names),
        },
      ]),
  );
}
