// The recorded state that current contracts are compared with. test/fixtures/record-baseline.ts records it.
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { ContractSchemas } from './contract-schemas.ts';
import { type Parsed, type Recorded, readRecorded } from './recorded.ts';
import { parts } from './sources.ts';

export const baselineFolder = new URL('../../test/fixtures/baseline/', import.meta.url);

export interface Baseline {
  readonly schemas: ContractSchemas;
  readonly recorded: Recorded;
  readonly parsed: Parsed;
}

const schema = z.record(z.string(), z.unknown());
const contracts = z.object({
  events: z.record(z.string(), schema),
  routes: z.record(
    z.string(),
    z.object({
      request: z.partialRecord(z.enum(parts), schema),
      responses: z.record(z.string(), schema),
    }),
  ),
  problem: schema,
});

/** Rejects if a part of it is missing. */
export async function readBaseline(folder = baselineFolder): Promise<Baseline> {
  const read = async (file: string): Promise<unknown> => JSON.parse(await readFile(new URL(file, folder), 'utf8'));
  return {
    schemas: contracts.parse(await read('schemas.json')) as ContractSchemas,
    recorded: await readRecorded(folder),
    parsed: z.record(z.string(), z.unknown()).parse(await read('parsed.json')),
  };
}
