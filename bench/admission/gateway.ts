// A gateway process: connects, waits for the start of the burst, requests a place for all its buyers at once, and replies
// with the number that were admitted. It ends when it is disconnected, also because its parent died.
import { type StrategyName, strategies } from './strategies.ts';
import type { Client, Sale } from './strategy.ts';

/** Where a burst goes: a strategy, its server, a sale, and another sale for practice. */
export interface Target {
  readonly strategy: StrategyName;
  readonly url: string;
  readonly sale: Sale;
  readonly practice: Sale;
}

/** `open` connects to the sale after some practice. `decide-only` begins no work and then waits to be killed. */
export type Command =
  | { readonly type: 'open'; readonly target: Target }
  | { readonly type: 'burst' | 'decide-only'; readonly buyers: number };

const PRACTICE_BUYERS = 250;

let client: Client | undefined;
let buyerCount = 0;

/** Resolves with the number of admitted buyers; rejects if the outcome of any is unknown. */
async function burst(client: Client, type: 'burst' | 'decide-only', buyers: number): Promise<number> {
  const one = async () => {
    // BullMQ wants an id that is no number, without colons.
    const buyer = `buyer-${process.pid}-${++buyerCount}`;
    const admitted = await client.decide(buyer);
    if (admitted && type === 'burst') await client.begin?.(buyer);
    return admitted;
  };
  const results = await Promise.all(Array.from({ length: buyers }, one));
  return results.filter((admitted) => admitted).length;
}

async function handle(command: Command): Promise<number> {
  if (command.type === 'open') {
    const { strategy, url, sale, practice } = command.target;
    const practising = await strategies[strategy].connect(url, practice);
    await burst(practising, 'burst', PRACTICE_BUYERS);
    await practising.close();
    client = await strategies[strategy].connect(url, sale);
    return 0;
  }
  if (!client) throw new Error('a burst before a sale was opened');
  const admitted = await burst(client, command.type, command.buyers);
  if (command.type === 'burst') {
    await client.close();
    client = undefined;
  }
  return admitted;
}

process.on('message', (command: Command) => {
  handle(command).then(
    (admitted) => process.send?.(admitted),
    (error: unknown) => {
      console.error(error); // the parent reports that this process ended
      process.exit(1);
    },
  );
});
// Without closing: the client may be waiting for a server that is gone, and nothing of it is worth keeping.
process.on('disconnect', () => process.exit());
