// One gateway process: connects, waits for the gate, asks for all its buyers at once and tells how it went. It ends
// when it is disconnected, also because the experiment died.
import type { Client, Sale } from './way.ts';
import { type WayName, ways } from './ways.ts';

export type Command =
  /** Connects to the sale, after some practice on another one. Answered by `ready`. */
  | { readonly type: 'open'; readonly way: WayName; readonly url: string; readonly sale: Sale; readonly practice: Sale }
  /** Asks for this many buyers at once. Answered by `done`; the connection is closed then. */
  | { readonly type: 'burst'; readonly buyers: number }
  /** Asks for this many buyers, begins no work, and waits to be killed. Answered by `done`. */
  | { readonly type: 'decide-only'; readonly buyers: number };

export type Answer =
  | { readonly type: 'ready' }
  | {
      readonly type: 'done';
      readonly admitted: number;
      /** Neither admitted nor rejected: the connection broke, or the server failed. */
      readonly unknown: number;
      /** One of the errors. */
      readonly error?: string;
    };

const PRACTICE_BUYERS = 250;

let client: Client | undefined;
let asked = 0;

async function ask(client: Client, buyers: number, alsoBegin: boolean): Promise<Answer> {
  const one = async () => {
    // BullMQ wants an id that is no number, without colons.
    const buyer = `buyer-${process.pid}-${++asked}`;
    const admitted = await client.decide(buyer);
    if (admitted && alsoBegin) await client.begin?.(buyer);
    return admitted;
  };
  const results = await Promise.allSettled(Array.from({ length: buyers }, one));
  const failures = results.filter((result) => result.status === 'rejected');
  const admitted = results.filter((result) => result.status === 'fulfilled' && result.value).length;
  return {
    type: 'done',
    admitted,
    unknown: failures.length,
    ...(failures[0] && { error: String(failures[0].reason) }),
  };
}

async function handle(command: Command): Promise<Answer> {
  if (command.type === 'open') {
    const { way, url, sale, practice } = command;
    const practising = await ways[way].connect(url, practice);
    await ask(practising, PRACTICE_BUYERS, true);
    await practising.close();
    client = await ways[way].connect(url, sale);
    return { type: 'ready' };
  }
  if (!client) throw new Error('a burst before a sale was opened');
  const done = await ask(client, command.buyers, command.type === 'burst');
  if (command.type === 'burst') {
    await client.close();
    client = undefined;
  }
  return done;
}

process.on('message', (command: Command) => {
  handle(command).then(
    (answer) => process.send?.(answer),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
// Not closed in good order: a client may be waiting for a server that is gone, and nothing of it is worth keeping.
process.on('disconnect', () => process.exit());
