// The files that a command writes at its end: reports and charts.
import { constants } from 'node:fs';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CliError, messageOf } from './errors.ts';
import { note } from './terminal.ts';

/** Call before the work: rejects if the folder of an output file does not exist or is not writable. */
export async function expectWritable(...files: readonly (string | undefined)[]): Promise<void> {
  for (const file of files) {
    if (file !== undefined) await access(dirname(file), constants.W_OK).catch((error) => cannotWrite(file, error));
  }
}

/** Call before the work: creates the folder of output files. Rejects if that is impossible. */
export async function createFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error) => cannotWrite(folder, error));
  await access(folder, constants.W_OK).catch((error) => cannotWrite(folder, error));
}

export async function writeOutput(file: string, text: string): Promise<void> {
  await writeFile(file, text).catch((error) => cannotWrite(file, error));
  note(`wrote ${file}`);
}

function cannotWrite(file: string, error: unknown): never {
  throw new CliError(`cannot write ${file}: ${messageOf(error)}`, { cause: error });
}
