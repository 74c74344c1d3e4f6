// The package ships no types. What is declared is what is used.
declare module 'aedes-persistence-level' {
  import type { Readable } from 'node:stream';
  import type { ClassicLevel } from 'classic-level';

  export interface LevelPersistence {
    /** Retained messages that match one of the topic filters, as packets. */
    createRetainedStreamCombi(filters: readonly string[]): Readable;
  }
  function createPersistence(db: ClassicLevel<string, Buffer>): LevelPersistence;
  export default createPersistence;
}
