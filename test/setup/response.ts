// Checks a response against the declaration of its route in contracts/routes.
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { type ProblemName, problem, problems } from '../../contracts/problems.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import { paymentProviderRoutes } from '../../contracts/routes/payment-provider.ts';
import { matchesPath, problemsOf, type Route } from '../../contracts/routes/route.ts';
import { behaviourRoutes } from '../../simulators/payment-provider/behaviour.ts';
import { ResponseMismatch } from './wait.ts';

export interface ReceivedResponse {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly contentType: string | undefined;
  readonly text: string;
  /** Problems that need not be declared, because the test made the system faulty. */
  readonly tolerated?: readonly ProblemName[];
}

/** Pages, scripts, redirects and metrics. Every other response must be JSON with a schema. */
const withoutSchema = /^text\/(html|css|javascript|plain)\b/;

const routes: readonly Route[] = [
  ...Object.values(routesOf()),
  ...Object.values(paymentProviderRoutes),
  ...Object.values(behaviourRoutes),
];

/** Both a process and the simulated payment provider have /healthz. */
function declarationsOf(method: string, pathname: string): readonly Route[] {
  const found = routes.filter((route) => route.method.toUpperCase() === method && matchesPath(route.path, pathname));
  const exact = found.filter(({ path }) => path === pathname);
  return exact.length > 0 ? exact : found.slice(0, 1);
}

/** `pathname` has no query. Undefined: the route declares no JSON response with this status. */
export function responseSchema(method: string, pathname: string, status: number): z.ZodType | undefined {
  const [first, second] = declarationsOf(method, pathname).flatMap(({ responses }) => responses[status]?.json ?? []);
  if (first && second) return z.union([first, second]);
  return first ?? (status >= 400 ? problem : undefined);
}

/** Throws for a problem that the route does not declare. Requests without a route may get any problem. */
function expectDeclared(
  { type, title, status }: z.infer<typeof problem>,
  declarations: readonly Route[],
  tolerated: readonly ProblemName[],
  about: string,
) {
  const name = type.replace('/problems/', '') as ProblemName;
  const declared = [...declarations.flatMap(problemsOf), ...tolerated];
  const isServed = title !== 'There is no such resource'; // a process may run other services
  if (isServed && declarations.length > 0 && !declared.includes(name))
    throw new ResponseMismatch(`${about} is ${name}, but the route declares only ${declared.join(', ')}`);
  if (problems[name]?.status !== status) throw new ResponseMismatch(`${about} does not have the status of ${name}`);
}

/** Throws if the response has no schema or does not match it exactly. Returns the body, or undefined for a page. */
export function parseResponse(response: ReceivedResponse): unknown {
  const { method, url, status, contentType = '', text, tolerated = [] } = response;
  if (withoutSchema.test(contentType)) return undefined;
  const { pathname: whole, search } = new URL(url);
  const pathname = whole.replace(/^\/(?:shop|market)(?=\/)/, ''); // the paths of the tests with reverse proxies
  const about = `${method} ${pathname}${search}: ${status} ${contentType}`;
  const schema = responseSchema(method, pathname, status);
  if (!schema) throw new ResponseMismatch(`${about} has no schema in contracts/routes: ${text}`);
  const expectedType = schema === problem ? 'application/problem+json' : 'application/json';
  if (!contentType.startsWith(expectedType)) throw new ResponseMismatch(`${about} is not ${expectedType}: ${text}`);
  const body = parseExactly(schema, JSON.parse(text), about);
  if (schema === problem) expectDeclared(problem.parse(body), declarationsOf(method, pathname), tolerated, about);
  return body;
}

/**
 * Throws if the body does not match the schema exactly: a missing, wrong or undeclared field is an error. (Clients
 * ignore undeclared fields, so that a newer server may add some.) `about`: the subject of the error message.
 */
export function parseExactly<T>(schema: z.ZodType<T>, body: unknown, about: string): T {
  const { data, error } = schema.safeParse(body);
  if (error)
    throw new ResponseMismatch(`${about} does not match its schema: ${error.message}\n${JSON.stringify(body)}`);
  if (!isDeepStrictEqual(data, body))
    throw new ResponseMismatch(
      `${about} has fields that its schema does not declare:\n${JSON.stringify(body)}\n${JSON.stringify(data)}`,
    );
  return data;
}
