import { z } from 'zod';
import { type ProblemName, problems } from '../problems.ts';
import type { Route } from './route.ts';

/** The parts of a document are those of its specification. */
const openApi = z.looseObject({ openapi: z.string() });
const asyncApi = z.looseObject({ asyncapi: z.string() });

const problemNames = Object.keys(problems) as ProblemName[];

/** The routes of every process that describe it. */
export const documentRoutes = {
  readOpenApi: {
    method: 'get',
    path: '/openapi.json',
    summary: 'Read the OpenAPI document of this process',
    access: 'public',
    responses: { 200: { about: 'OpenAPI 3.1.', json: openApi } },
  },
  readAsyncApi: {
    method: 'get',
    path: '/asyncapi.json',
    summary: 'Read the AsyncAPI document of this process',
    access: 'public',
    responses: { 200: { about: 'AsyncAPI 3.0.', json: asyncApi } },
  },
  readDocs: {
    method: 'get',
    path: '/docs',
    summary: 'Read both documents as a page',
    access: 'public',
    responses: { 200: { about: 'The page.', media: ['text/html'] } },
  },
  readProblem: {
    method: 'get',
    path: '/problems/:name',
    summary: 'Read what a problem means, as a page',
    access: 'public',
    params: { name: { schema: z.enum(problemNames), what: 'problem' } },
    responses: { 200: { about: 'The page.', media: ['text/html'] } },
  },
  readDocsStyle: {
    method: 'get',
    path: '/docs/style.css',
    summary: 'Read the style of the page',
    access: 'public',
    responses: { 200: { about: 'The style.', media: ['text/css'] } },
  },
  readDocsScript: {
    method: 'get',
    path: '/docs/script.js',
    summary: 'Read the script of the page',
    access: 'public',
    responses: { 200: { about: 'The script.', media: ['text/javascript'] } },
  },
} as const satisfies Record<string, Route>;
