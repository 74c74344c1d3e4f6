// Tries mistakes one after the other, for tests have deadlines, on servers that are started once.
import { CliError, messageOf } from '../../demos/shared/errors.ts';
import { note } from '../../demos/shared/terminal.ts';
import { findServers, type ServerUrls } from '../servers/find.ts';
import { type Copy, copyOfSources, sourceRoot } from './copy.ts';
import { apply, type Mutation, whyNotFound } from './mutation.ts';
import type { RanTest } from './reporter.ts';
import { runTests } from './vitest.ts';

/** For the tests of all mistakes together, without any. */
const BASELINE_WITHIN_MS = 300_000;
/** For those of one mistake. */
const MISTAKE_WITHIN_MS = 120_000;

export interface Verdict {
  readonly mutation: Mutation;
  /** `failed`: its place was not found, its tests are not green without it, or they could not be run. */
  readonly outcome: 'red' | 'green' | 'red for another reason' | 'failed';
  /** What there is to know where it is not red. */
  readonly why?: string;
  /** How many are to notice. */
  readonly tests: number;
  readonly ms: number;
}

/**
 * A mistake whose place is not found has failed, and nothing is started for it. Rejects when `signal` aborts, and where
 * not even the tests without a mistake could be run. Leaves nothing behind.
 */
export async function tryAll(mutations: readonly Mutation[], signal: AbortSignal): Promise<Verdict[]> {
  const placed: Mutation[] = [];
  const verdicts: Verdict[] = [];
  for (const mutation of mutations) {
    const why = await whyNotFound(mutation, sourceRoot);
    if (why === undefined) placed.push(mutation);
    else verdicts.push({ mutation, outcome: 'failed', why, tests: 0, ms: 0 });
  }
  return placed.length > 0 ? [...verdicts, ...(await tryPlaced(placed, signal))] : verdicts;
}

async function tryPlaced(mutations: readonly Mutation[], signal: AbortSignal): Promise<Verdict[]> {
  const servers = await findServers();
  for (const line of servers.missing) note(line);
  let copy: Copy | undefined;
  try {
    copy = await copyOfSources();
    const { root } = copy;
    const common = { root, env: environment(servers.urls), signal };
    note('without a mistake');
    const all = { ...common, ...testsOfAll(mutations), bail: false, withinMs: BASELINE_WITHIN_MS };
    const baseline = await runTests(all).catch((error) => {
      throw new CliError(`without a mistake: ${messageOf(error)}`, { cause: error });
    });
    const verdicts: Verdict[] = [];
    for (const [index, mutation] of mutations.entries()) {
      note(`${index + 1}/${mutations.length} ${mutation.name}`);
      const startedAt = performance.now();
      const withMistake = async () => {
        const undo = await apply(mutation, root);
        try {
          return await runTests({ ...common, ...mutation.tests, bail: true, withinMs: MISTAKE_WITHIN_MS });
        } finally {
          await undo();
        }
      };
      const found = notReady(mutation, baseline) ?? (await withMistake().then((ran) => judge(mutation, ran), notRun));
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

/** A pattern may fit tests of other mistakes' files as well: these run in vain. */
const testsOfAll = (mutations: readonly Mutation[]) => ({
  files: [...new Set(mutations.flatMap(({ tests }) => tests.files))],
  pattern: [...new Set(mutations.map(({ tests }) => `(?:${tests.pattern})`))].join('|'),
});

const told = (failed: readonly RanTest[]) => failed.map(({ name, failure = '' }) => `${name}: ${failure}`).join('\n');

/** Why a mistake is not tried; undefined: its tests are there, and green without it. */
function notReady(mutation: Mutation, baseline: readonly RanTest[]): Found | undefined {
  const { files, pattern } = mutation.tests;
  if (testsOf(mutation, baseline).length === 0) {
    return { outcome: 'failed', why: `no test ran of ${files.join(', ')} -t '${pattern}'` };
  }
  const failed = failedOf(mutation, baseline);
  return failed.length > 0 ? { outcome: 'failed', why: `red without it: ${told(failed)}` } : undefined;
}

/** A start that fails, or code that does not compile, is not red: a test must have failed, and for the right reason. */
function judge(mutation: Mutation, ran: readonly RanTest[]): Found {
  const failed = failedOf(mutation, ran);
  if (failed.length === 0) return { outcome: 'green', why: `no test noticed: ${mutation.lesson}` };
  if (failed.some(({ failure }) => failure?.includes(mutation.failure))) return { outcome: 'red' };
  return { outcome: 'red for another reason', why: `not "${mutation.failure}", but ${told(failed)}` };
}

/** The servers for every run, so that none starts its own. */
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
