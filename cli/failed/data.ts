// The corrected data of an event, from a file or from standard input.
import { createReadStream } from 'node:fs';
import { addAbortSignal, type Readable } from 'node:stream';
import { CliError, messageOf } from '../../demos/shared/errors.ts';

/** By the convention of shells. */
const STDIN = '-';
/** The largest request. An event has 64 KiB at most. */
const MAX_BYTES = 1024 * 1024;

/** Rejects with a CliError unless it is one JSON object. Reads at most MAX_BYTES. */
export async function readData(file: string, signal: AbortSignal): Promise<Record<string, unknown>> {
  const name = file === STDIN ? 'standard input' : file;
  const text = await readText(file, signal).catch((error) => {
    if (signal.aborted || error instanceof CliError) throw error;
    throw new CliError(`cannot read ${name}: ${messageOf(error)}`, { cause: error });
  });
  const data = parsed(text);
  if (data === undefined) throw new CliError(`${name} must hold one JSON object: the data of the event`);
  return data;
}

async function readText(file: string, signal: AbortSignal): Promise<string> {
  const input: Readable = file === STDIN ? process.stdin : createReadStream(file);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of addAbortSignal(signal, input)) {
    bytes += (chunk as Buffer).byteLength;
    if (bytes > MAX_BYTES) throw new CliError(`${file} has more than ${MAX_BYTES} bytes: an event has 64 KiB at most`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
