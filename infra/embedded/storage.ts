// Where the embedded broker keeps sessions and retained messages: LevelDB in `<dataDir>/mqtt`.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import createPersistence, { type LevelPersistence } from 'aedes-persistence-level';
import { ClassicLevel } from 'classic-level';
import { DataDirInUse } from './errors.ts';

export interface Storage {
  readonly persistence: LevelPersistence;
  close(): Promise<void>;
}

/** Rejects with DataDirInUse where another process has it open: LevelDB's lock ends with the process that holds it. */
export async function openStorage(dataDir: string): Promise<Storage> {
  const folder = join(dataDir, 'mqtt');
  await mkdir(folder, { recursive: true });
  const db = new ClassicLevel<string, Buffer>(folder, { valueEncoding: 'buffer' });
  try {
    await db.open();
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    throw cause?.code === 'LEVEL_LOCKED' ? new DataDirInUse(dataDir, error) : error;
  }
  const persistence = Object.assign(createPersistence(db), {
    // There are no Wills here to delete (access.ts); and Aedes, which does so at each CONNECT, would leave the rejection
    // of one that meets a closed database unhandled.
    delWill: async () => undefined,
  });
  return { persistence, close: () => db.close() };
}
