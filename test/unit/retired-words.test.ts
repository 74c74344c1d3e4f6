// The check that keeps one word for each concept (bin/retired-words.ts).
import { expect, test } from 'vitest';
import { retiredWords } from '../../bin/retired-words.ts';

test.each([
  ['const askAgainMs = 1;', 'askAgain'],
  ['// The buyer is refused.', 'refused'],
  ["state: 'firm'", 'firm'],
  ['// Whoever writes a row claims it.', 'Whoever'],
  ['const page = await child.ask<number>(command);', '.ask<'],
  ['// 6 orders waited at the most.', 'at the most'],
  ['ALTER TABLE x ADD COLUMN unit_to_return boolean', 'unit_to_return'],
])('finds the retired word in %s', (text, word) => {
  expect(retiredWords(`first line\n${text}`)).toEqual([expect.objectContaining({ line: 2, word })]);
});

test.each([
  "if (code === 'ECONNREFUSED')",
  "sluice failed retry --error 'connection refused'",
  'confirmed',
  'the order is affirmed',
  'rejected',
])('leaves %s alone', (text) => {
  expect(retiredWords(text)).toEqual([]);
});
