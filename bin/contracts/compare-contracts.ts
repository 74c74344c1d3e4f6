// Compares all contracts with the baseline: which events, routes and statuses there are, and the schema of each.
import { compareSchemas } from './compare-schemas.ts';
import type { ContractSchemas, RouteSchemas } from './contract-schemas.ts';
import type { Finding, Rule } from './findings.ts';
import type { JsonSchema } from './json-schema.ts';
import { parts } from './sources.ts';

export interface ContractFinding extends Finding {
  /** The event, request or response, such as `response of GET /orders/{} 200`. */
  readonly subject: string;
}

/** A part that a request lacks. */
const NONE: JsonSchema = { type: 'object', properties: {}, additionalProperties: false };

export function compareContracts(baseline: ContractSchemas, current: ContractSchemas): ContractFinding[] {
  return [
    ...Object.entries(baseline.events).flatMap(([type, schema]) => {
      const now = current.events[type];
      if (!now) return gone(`event ${type}`, 'event-removed', 'its type is gone');
      return about(`event ${type}`, compareSchemas(schema, now, 'produced'));
    }),
    ...Object.entries(baseline.routes).flatMap(([key, schemas]) => {
      const now = current.routes[key];
      return now ? compareRoutes(key, schemas, now) : gone(key, 'route-removed', 'the route is gone');
    }),
    ...about('error responses', compareSchemas(baseline.problem, current.problem, 'produced')),
  ];
}

function compareRoutes(key: string, before: RouteSchemas, after: RouteSchemas): ContractFinding[] {
  const requests = parts
    .filter((part) => before.request[part] || after.request[part])
    .flatMap((part) => {
      const [was, is] = [before.request[part] ?? NONE, after.request[part] ?? NONE];
      return about(`${part} of ${key}`, compareSchemas(was, is, 'accepted'));
    });
  const responses = Object.entries(before.responses).flatMap(([status, schema]) => {
    const subject = `response of ${key} ${status}`;
    const now = after.responses[status];
    if (!now) return gone(subject, 'status-removed', 'the status is gone');
    return about(subject, compareSchemas(schema, now, 'produced'));
  });
  const added = Object.keys(after.responses)
    .filter((status) => Number(status) < 400 && before.responses[status] === undefined)
    .flatMap((status) => gone(`response of ${key} ${status}`, 'status-added', 'the status is new'));
  return [...requests, ...responses, ...added];
}

const gone = (subject: string, rule: Rule, detail: string): ContractFinding[] => [{ subject, path: '', rule, detail }];

/** Without repetitions: a schema in allOf may be compared twice. */
function about(subject: string, findings: readonly Finding[]): ContractFinding[] {
  const byText = new Map(findings.map((found) => [JSON.stringify(found), { subject, ...found }]));
  return [...byText.values()];
}
