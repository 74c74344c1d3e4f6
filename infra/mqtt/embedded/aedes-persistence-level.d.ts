// The package ships no types. These cover what this project uses.
declare module 'aedes-persistence-level' {
  import type { ClassicLevel } from 'classic-level';

  export interface LevelPersistence {
    /** Retained messages that match one of the topic filters, as packets. */
    createRetainedStreamCombi(filters: readonly string[]): AsyncIterable<{ readonly topic: string }>;
  }
  function createPersistence(db: ClassicLevel<string, Buffer>): LevelPersistence;
  export default createPersistence;
}
