// Where the embedded broker keeps sessions and retained messages: LevelDB in `<dataDir>/mqtt`.
import createPersistence, { type LevelPersistence } from 'aedes-persistence-level';
import { openLevel } from '../../runtime/data-dir.ts';

export interface Storage {
  readonly persistence: LevelPersistence;
  close(): Promise<void>;
}

/** Rejects with DataDirInUse where another process has it open. */
export async function openStorage(dataDir: string): Promise<Storage> {
  const db = await openLevel(dataDir, 'mqtt');
  const persistence = Object.assign(createPersistence(db), {
    // There are no Wills here to delete (access.ts); and Aedes, which does so at each CONNECT, would leave the rejection
    // of one that meets a closed database unhandled.
    delWill: async () => undefined,
  });
  return { persistence, close: () => db.close() };
}
