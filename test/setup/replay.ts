// Reads invoice files as `sluice replay` does.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CsvLine, readLines, recogniseFormat } from '../../demos/replay/csv.ts';
import type { DateOrder } from '../../demos/replay/dates.ts';
import { collectInvoices } from '../../demos/replay/invoices.ts';
import { Source } from '../../demos/replay/source.ts';

/** The format, the lines and the invoices of a file. */
export async function readFile(file: string, dateOrder?: DateOrder) {
  const source = await Source.open(file, new AbortController().signal);
  try {
    const format = await recogniseFormat(source, { dateOrder });
    const lines: CsvLine[] = [];
    for await (const line of readLines(source, format)) lines.push(line);
    const reading = { currency: 'GBP', dateOrder: format.dates.order, numbers: format.numbers };
    return { format, lines, ...(await collectInvoices(lines, reading)) };
  } finally {
    await source.close();
  }
}

/** Calls `use` with the path of a file of this content, and removes the file. */
export async function withFile<T>(content: string | Uint8Array, use: (file: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-replay-'));
  try {
    const file = join(folder, 'invoices.csv');
    await writeFile(file, content);
    return await use(file);
  } finally {
    await rm(folder, { recursive: true });
  }
}
