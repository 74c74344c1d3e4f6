// Makes mutations one after the other, because tests have deadlines, on servers that are started once.
import { CliError, messageOf } from '../../demos/shared/errors.ts';
import { note } from '../../demos/shared/terminal.ts';
import { findServers, type ServerUrls } from '../servers/find.ts';
import { type Copy, copyOfSources, sourceRoot } from './copy.ts';
import { apply, type Mutation, whyImpossible } from './mutation.ts';
import type { RanTest } from './reporter.ts';
import { runTests } from './vitest.ts';

/** Limit for the tests of all mutations together, without any mutation. */
const BASELINE_WITHIN_MS = 300_000;
/** Limit for the tests of one mutation. */
const MUTATION_WITHIN_MS = 120_000;

export interface Verdict {
  readonly mutation: Mutation;
  /** `failed`: the text to replace is not found, or the tests fail without the mutation or cannot be run. */
  readonly outcome: 'detected' | 'not detected' | 'another failure' | 'failed';
  /** The reason, unless the mutation is detected. */
  readonly why?: string;
  /** Number of tests that ran. */
  readonly tests: number;
  readonly ms: number;
}

/**
 * Makes each mutation whose text is found; the others have failed. Rejects if `signal` aborts or the tests cannot run
 * without a mutation. Leaves no files or processes behind.
 */
export async function tryAll(mutations: readonly Mutation[], signal: AbortSignal): Promise<Verdict[]> {
  const possible: Mutation[] = [];
  const verdicts: Verdict[] = [];
  for (const mutation of mutations) {
    const why = await whyImpossible(mutation, sourceRoot);
    if (why === undefined) possible.push(mutation);
    else verdicts.push({ mutation, outcome: 'failed', why, tests: 0, ms: 0 });
  }
  return possible.length > 0 ? [...verdicts, ...(await tryPossible(possible, signal))] : verdicts;
}

async function tryPossible(mutations: readonly Mutation[], signal: AbortSignal): Promise<Verdict[]> {
  const servers = await findServers();
  for (const line of servers.missing) note(line);
  let copy: Copy | undefined;
  try {
    copy = await copyOfSources();
    const { root } = copy;
    const common = { root, env: environment(servers.urls), signal };
    note('without a mutation');
    const all = { ...common, ...testsOfAll(mutations), bail: false, withinMs: BASELINE_WITHIN_MS };
    const baseline = await runTests(all).catch((error) => {
      throw new CliError(`without a mutation: ${messageOf(error)}`, { cause: error });
    });
    const verdicts: Verdict[] = [];
    for (const [index, mutation] of mutations.entries()) {
      note(`${index + 1}/${mutations.length} ${mutation.name}`);
      const startedAt = performance.now();
      const withMutation = async () => {
        const undo = await apply(mutation, root);
        try {
          return await runTests({ ...common, ...mutation.tests, bail: true, withinMs: MUTATION_WITHIN_MS });
        } finally {
          await undo();
        }
      };
      const found = notReady(mutation, baseline) ?? (await withMutation().then((ran) => judge(mutation, ran), notRun));
      signal.throwIfAborted();
      const tests = testsOf(mutation, baseline).length;
      verdicts.push({ mutation, ...found, tests, ms: performance.now() - startedAt });
    }
    return verdicts;
  } finally {
    await Promise.all([copy?.remove(), servers.stop()]);
  }
}

type Found = Pick<Verdict, 'outcome' | 'why'>;
const notRun = (error: unknown): Found => ({ outcome: 'failed', why: messageOf(error) });

const matches = ({ tests: { files, pattern } }: Mutation, { file, name }: RanTest) =>
  files.includes(file) && new RegExp(pattern).test(name);
const testsOf = (mutation: Mutation, ran: readonly RanTest[]) => ran.filter((test) => matches(mutation, test));
const failedOf = (mutation: Mutation, ran: readonly RanTest[]) =>
  testsOf(mutation, ran).filter(({ failure }) => failure !== undefined);

/** A pattern may match tests in the files of other mutations; those run in vain. */
const testsOfAll = (mutations: readonly Mutation[]) => ({
  files: [...new Set(mutations.flatMap(({ tests }) => tests.files))],
  pattern: [...new Set(mutations.map(({ tests }) => `(?:${tests.pattern})`))].join('|'),
});

const describe = (failed: readonly RanTest[]) =>
  failed.map(({ name, failure = '' }) => `${name}: ${failure}`).join('\n');

/** Why a mutation is not made; undefined if its tests exist and pass without it. */
function notReady(mutation: Mutation, baseline: readonly RanTest[]): Found | undefined {
  const { files, pattern } = mutation.tests;
  if (testsOf(mutation, baseline).length === 0) {
    return { outcome: 'failed', why: `no test ran of ${files.join(', ')} -t '${pattern}'` };
  }
  const failed = failedOf(mutation, baseline);
  return failed.length > 0 ? { outcome: 'failed', why: `fails without it: ${describe(failed)}` } : undefined;
}

/** A test must fail, and for the right reason: a start that fails, or code that does not compile, detects nothing. */
function judge(mutation: Mutation, ran: readonly RanTest[]): Found {
  const failed = failedOf(mutation, ran);
  if (failed.length === 0) return { outcome: 'not detected', why: mutation.lesson };
  if (failed.some(({ failure }) => failure?.includes(mutation.failure))) return { outcome: 'detected' };
  return { outcome: 'another failure', why: `not "${mutation.failure}", but ${describe(failed)}` };
}

/** Passes the servers to every run, so that no run starts its own. */
function environment({ databaseUrl, amqpUrl, rabbitMqttUrl, mosquittoUrl, redisUrl }: ServerUrls) {
  const all = {
    TEST_DATABASE_URL: databaseUrl,
    TEST_AMQP_URL: amqpUrl,
    TEST_RABBITMQ_MQTT_URL: rabbitMqttUrl,
    TEST_MQTT_URL: mosquittoUrl,
    TEST_REDIS_URL: redisUrl,
  };
  return Object.fromEntries(Object.entries(all).flatMap(([name, url]) => (url ? [[name, url]] : []))) as Record<
    string,
    string
  >;
}
