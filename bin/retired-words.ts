// Finds names and phrases that docs/glossary.md has replaced, so that each concept keeps one word. `npm run check` runs
// it.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Retired words and their replacements. An expression matches whole words unless it says otherwise. */
const retired: readonly (readonly [word: RegExp, instead: string])[] = [
  [/\bask(s|ed|ing)?[ _-]?again\b|ask(ed)?Again|ASK_AGAIN/i, 'resend, request'],
  [/refus(e|es|ed|al|als|ing)\b/i, 'reject, rejection'],
  [/\bfirm\b/, 'confirmed'],
  [/\bg(ive|ives|iving|ave|iven)[ _]back\b|giveBack|GiveBack/, 'refund, release'],
  [/unit_to_return|unitToReturn/, 'stock_release_pending'],
  [/\bRelayDoor\b|\bturnOver\b/, 'RelayHandle, deletePublishedAndClaim'],
  [/\bbury\b|\bburied\b/, 'deadLetter'],
  [/\btakeOn\b|\bgiveUp\b|\btakeArrivals\b|\btakeRows\b/, 'processClaimed, markDead, addDone, claimDue'],
  [/\b(class|new) Silence\b/, 'StallDetector'],
  [/\blateness\w*|\bLateness\w*/, 'event-loop lag, LoadShedder'],
  [/\bglance\b/, 'peek'],
  [/\bunfeed\b|\bhungry\b|\bfed_?[uU]ntil\b/, 'dequeue, needsJobs, enqueued_until'],
  [/\bKeptChannel\b/, 'ResilientChannel'],
  [/\bholdSession\b/, 'exclusive consumer'],
  [/\b(insiders?|outsiders?)\b/i, 'internal clients, external clients'],
  [
    /\b(books|tally|tallies|offences?|suspects|whereabouts)\b/i,
    'ledger or totals, counters, violations, candidates, message locations',
  ],
  [/\bwhenThere\b|\bbringUpToDate\b/, 'retryUntilAvailable, migrateSchemas'],
  [/user-filter|\bUserFilter\b/, 'bloom-filter'],
  [/\bwhoever\b|\bwhatever\b/i, 'a noun: a buyer, a client, the relay'],
  [
    /promises? (is|are) broken|as hard as you like|is that URL a Sluice|Two changes met|not as it should be/,
    'a plain sentence',
  ],
  [/run it again to go on/, 'run it again to resume'],
  [/\bat the most\b/, 'at most, maximum'],
  [/\byours already\b/, 'already admitted'],
  [/\bonGivenUp\b/, 'onLastFailure'],
  [/\baskEach\b|\.ask[<(]|#ask\b/, 'requestEach, request'],
  [/\blook(Twice|At[A-Z]\w*)|#look\b/, 'check'],
];

/** Where old words may stand: history, the vocabulary itself, and files that are never edited. */
const exempt = [
  /^CHANGELOG\.md$/,
  /^docs\/glossary\.md$/,
  /^bin\/retired-words\.ts$/,
  /\/migrations\/\d+_/,
  /^test\/fixtures\/(\d|baseline\/)/,
  /^test\/unit\/retired-words\.test\.ts$/,
  // These name what 0.1.0 wrote and what a renamed setting was called.
  /^test\/(fixtures\/folder|long\/upgrade\.test)\.ts$/,
  /^(app\/config\.ts|docs\/configuration\.md)$/,
  /^CONTRIBUTING\.md$/,
  /^samples\/.*\.csv$/,
  /^package-lock\.json$/,
  /\.(png|gz)$/,
];
/** Names of others' protocols. */
const foreign = /ECONNREFUSED|ACCESS_REFUSED|connection refused/gi;

/** The retired words in a text; lines count from 1. */
export function retiredWords(text: string): { line: number; word: string; instead: string }[] {
  return text.split('\n').flatMap((content, index) => {
    const own = content.replace(foreign, '');
    return retired.flatMap(([word, instead]) => {
      const found = word.exec(own);
      return found ? [{ line: index + 1, word: found[0], instead }] : [];
    });
  });
}

const isMain = process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url);
if (isMain) {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    encoding: 'utf8',
  });
  const files = listed
    .split('\0')
    .filter((file) => file && existsSync(file) && !exempt.some((path) => path.test(file)));
  const found = files.flatMap((file) =>
    [...retiredWords(file), ...retiredWords(readFileSync(file, 'utf8'))].map(
      ({ line, word, instead }) => `${file}:${line}: "${word}" is retired, use: ${instead}`,
    ),
  );
  if (found.length > 0) {
    console.error(`${found.join('\n')}\n${found.length} retired words. docs/glossary.md has the vocabulary.`);
    process.exitCode = 1;
  }
}
