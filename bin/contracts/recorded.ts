// The events and answers of the baseline, as they went over the wire, and what they were parsed to. The current schemas
// must parse them to the same values. A field that the current schemas add by its default is no difference.
import { readdir, readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { ContractFinding } from './compare-contracts.ts';
import { routeKey } from './contract-schemas.ts';
import { fieldIn, shown } from './findings.ts';
import type { SourceRoute, Sources } from './sources.ts';

const answer = z.object({
  request: z.object({
    method: z.string(),
    path: z.string(),
    headers: z.record(z.string(), z.string()).optional(),
    body: z.string().optional(),
  }),
  status: z.int(),
  headers: z.record(z.string(), z.unknown()),
  body: z.unknown(),
});
type Answer = z.infer<typeof answer>;

/** By the name of the file. */
export interface Recorded {
  readonly events: ReadonlyMap<string, unknown>;
  readonly answers: ReadonlyMap<string, Answer>;
}

/** What is parsed of a recording: an event, or a part of a request, or a response. */
export interface Sample {
  /** Such as `event order.placed-1` or `body of orders-placed`. */
  readonly name: string;
  readonly schema: z.ZodType;
  readonly value: unknown;
}

export async function readRecorded(folder: URL): Promise<Recorded> {
  const filesIn = async (name: string) => {
    const files = (await readdir(new URL(`${name}/`, folder))).sort();
    const read = async (file: string): Promise<unknown> =>
      JSON.parse(await readFile(new URL(`${name}/${file}`, folder), 'utf8'));
    return Promise.all(files.map(async (file) => [file.replace(/\.json$/, ''), await read(file)] as const));
  };
  const answers = (await filesIn('answers')).map(([name, value]) => [name, answer.parse(value)] as const);
  return { events: new Map(await filesIn('events')), answers: new Map(answers) };
}

const typed = z.object({ type: z.string() });
const isJson = (headers: Readonly<Record<string, unknown>> = {}) => /json/.test(String(headers['content-type']));

function routeOf({ routes }: Sources, { method, path }: Answer['request']): SourceRoute | undefined {
  const [pathname = ''] = path.split('?');
  const matches = (route: string) => new RegExp(`^${route.replaceAll(/:\w+|\{\w+\}/g, '[^/]+')}$`).test(pathname);
  return routes.find((route) => route.method === method && matches(route.path));
}

/** What of the recording has a schema, with its current one. Requests that were rejected have no meaning to keep. */
export function samplesOf(sources: Sources, { events, answers }: Recorded): Sample[] {
  const ofEvents = [...events].flatMap(([name, value]): Sample[] => {
    const schema = sources.events[typed.parse(value).type];
    return schema ? [{ name: `event ${name}`, schema, value }] : [];
  });
  const ofAnswers = [...answers].flatMap(([name, { request, status, headers, body }]): Sample[] => {
    const route = routeOf(sources, request);
    const schema = route?.responses[status] ?? (status >= 400 ? sources.problem : undefined);
    const response = schema && isJson(headers) ? [{ name: `response ${name}`, schema, value: body }] : [];
    return [...response, ...(route && status < 300 ? requestSamples(name, route, request) : [])];
  });
  return [...ofEvents, ...ofAnswers];
}

function requestSamples(name: string, { request: schemas }: SourceRoute, request: Answer['request']): Sample[] {
  const { body, query, headers } = schemas;
  const search = new URLSearchParams(request.path.split('?')[1]);
  return [
    ...(body && request.body !== undefined && isJson(request.headers)
      ? [{ name: `body of ${name}`, schema: body, value: JSON.parse(request.body) as unknown }]
      : []),
    ...(query ? [{ name: `query of ${name}`, schema: query, value: Object.fromEntries(search) }] : []),
    ...(headers ? [{ name: `headers of ${name}`, schema: headers, value: request.headers ?? {} }] : []),
  ];
}

export type Parsed = Readonly<Record<string, unknown>>;

/** The values of all samples. Throws if one cannot be parsed. */
export const parsedSamples = (samples: readonly Sample[]): Parsed =>
  Object.fromEntries(samples.map(({ name, schema, value }) => [name, schema.parse(value)]));

/** `parsed`: the values at the recording. */
export function compareRecorded(samples: readonly Sample[], parsed: Parsed): ContractFinding[] {
  const byName = new Map(samples.map((sample) => [sample.name, sample]));
  return Object.entries(parsed).flatMap(([name, before]): ContractFinding[] => {
    const subject = `recorded ${name}`;
    const sample = byName.get(name);
    if (!sample) return [{ subject, path: '', rule: 'unreadable', detail: 'no schema applies to it' }];
    const { data, error } = sample.schema.safeParse(sample.value);
    if (error)
      return error.issues.map(({ path, message }) => ({
        subject,
        path: path.map(String).reduce(fieldIn, ''),
        rule: 'unreadable' as const,
        detail: message,
      }));
    return differences(before, data, '').map((found) => ({ subject, ...found, rule: 'meaning' as const }));
  });
}

/** Where `after` lacks something of `before` or has another value. It may have more fields. */
function differences(before: unknown, after: unknown, path: string): { path: string; detail: string }[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length)
    return before.flatMap((item, index) => differences(item, after[index], `${path}[${index}]`));
  if (isRecord(before) && isRecord(after))
    return Object.entries(before).flatMap(([name, value]) => differences(value, after[name], fieldIn(path, name)));
  return [{ path, detail: `${shown(before)} became ${shown(after)}` }];
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The event types, and the routes with a status below 300, that the recording has no example of. */
export function missingIn(sources: Sources, { events, answers }: Recorded): string[] {
  const types = new Set([...events.values()].map((event) => typed.parse(event).type));
  const answered = new Set(
    [...answers.values()].flatMap(({ request, status }) => {
      const route = routeOf(sources, request);
      return route ? [`${routeKey(route)} ${status}`] : [];
    }),
  );
  const expected = sources.routes.flatMap((route) =>
    Object.keys(route.responses)
      .filter((status) => Number(status) < 300)
      .map((status) => `${routeKey(route)} ${status}`),
  );
  return [
    ...Object.keys(sources.events).filter((type) => !types.has(type)),
    ...expected.filter((each) => !answered.has(each)),
  ];
}
