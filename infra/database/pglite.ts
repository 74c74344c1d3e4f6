// PGlite: PostgreSQL compiled to WebAssembly, in this process, with its files in a folder. It runs one statement or one
// transaction at a time; whoever else queries waits.
import { PGlite } from '@electric-sql/pglite';
import type { Database, Lock, Queryable } from './port.ts';

/** `dataDir` is created where it does not exist: the first start takes a few seconds. */
export async function openPglite({ dataDir }: { readonly dataDir: string }): Promise<Database> {
  const pglite = await PGlite.create({ dataDir, parsers: { 20: Number } });
  // There is only this process, so its session locks are names in a set.
  const held = new Set<string>();
  let closed: Promise<void> | undefined;

  return {
    kind: 'pglite',
    ...queryableOf(pglite),
    transaction: async (work) => {
      const callbacks: (() => void)[] = [];
      const result = await pglite.transaction((tx) =>
        work({ ...queryableOf(tx), afterCommit: (callback) => callbacks.push(callback) }),
      );
      for (const callback of callbacks) callback();
      return result;
    },
    tryLock: async (name): Promise<Lock | undefined> => {
      if (held.has(name)) return undefined;
      held.add(name);
      return {
        lost: new Promise(() => {}), // it ends with the process
        release: async () => {
          held.delete(name);
        },
      };
    },
    close: () => {
      closed ??= pglite.close();
      return closed;
    },
  };
}

function queryableOf(pglite: Pick<PGlite, 'query' | 'exec'>): Queryable {
  return {
    query: async <Row extends object>(text: string, params: readonly unknown[] = []) =>
      (await pglite.query<Row>(text, [...params])).rows,
    execute: async (text, params = []) => (await pglite.query(text, [...params])).affectedRows ?? 0,
    script: async (text) => {
      await pglite.exec(text);
    },
  };
}
