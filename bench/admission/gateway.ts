// A gateway process: connects, waits for the start of the burst, requests a place for all its buyers at once, and
// replies with the number that were admitted. It ends when it is disconnected, also because its parent died.
import { type StrategyName, strategies } from './strategies.ts';
import type { Client, Sale } from './strategy.ts';

/** The destination of a burst. `url`: of the strategy's server. */
export interface Target {
  readonly strategy: StrategyName;
  readonly url: string;
  readonly sale: Sale;
}

/** `open` connects to the sale. `decide-only` begins no work and then waits to be killed. */
export type Command =
  | { readonly type: 'open'; readonly target: Target }
  | { readonly type: 'burst' | 'decide-only'; readonly buyers: number };

let client: Client | undefined;
let buyerCount = 0;

/** Resolves with the number of admitted buyers; rejects if the outcome of any is unknown. */
async function handle(command: Command): Promise<number> {
  if (command.type === 'open') {
    const { strategy, url, sale } = command.target;
    client = await strategies[strategy].connect(url, sale);
    return 0;
  }
  const { type, buyers } = command;
  if (!client) throw new Error('a burst before a sale was opened');
  const { decide, begin, close } = client;
  const one = async () => {
    // BullMQ wants an id that is no number, without colons.
    const buyer = `buyer-${process.pid}-${++buyerCount}`;
    const admitted = await decide(buyer);
    if (admitted && type === 'burst') await begin?.(buyer);
    return admitted;
  };
  const results = await Promise.all(Array.from({ length: buyers }, one));
  if (type === 'burst') {
    await close();
    client = undefined;
  }
  return results.filter((admitted) => admitted).length;
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
