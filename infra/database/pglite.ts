// PGlite: PostgreSQL compiled to WebAssembly, in this process, with its files in a folder. It runs one statement or one
// transaction at a time; whoever else queries waits.
import { setImmediate } from 'node:timers/promises';
import { PGlite } from '@electric-sql/pglite';
import type { Database, Lock, Queryable } from './port.ts';

/**
 * PGlite answers without leaving the current task, so work that goes from statement to statement would keep sockets and
 * timers waiting: each statement and each transaction ends with a turn of the event loop.
 */
const turn = () => setImmediate();

/** `dataDir` is created where it does not exist: the first start takes a few seconds. */
export async function openPglite({ dataDir }: { readonly dataDir: string }): Promise<Database> {
  const pglite = await PGlite.create({ dataDir, parsers: { 20: Number } });
  const statements = queryableOf(pglite);
  // There is only this process, so its session locks are names in a set.
  const held = new Set<string>();
  let closed: Promise<void> | undefined;

  return {
    kind: 'pglite',
    query: <Row extends object>(text: string, params?: readonly unknown[]) =>
      statements.query<Row>(text, params).finally(turn),
    execute: (text, params) => statements.execute(text, params).finally(turn),
    script: (text) => statements.script(text).finally(turn),
    transaction: async (work) => {
      const callbacks: (() => void)[] = [];
      const result = await pglite.transaction((tx) =>
        work({ ...queryableOf(tx), afterCommit: (callback) => callbacks.push(callback) }),
      );
      for (const callback of callbacks) callback();
      await turn();
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
