// A process that opens a queue on Redis, prints `open`, and closes everything when its input ends. It must then exit by
// itself in any state of Redis.
import { once } from 'node:events';
import { pino } from 'pino';
import { openQueues } from '../../infra/queue/index.ts';

const [redisUrl = '', prefix = ''] = process.argv.slice(2);
const queues = await openQueues({ on: { redisUrl }, prefix, log: pino({ level: 'silent' }) });
const queue = await queues.open({ name: 'q', perSecond: 100, work: async () => {}, onLastFailure: () => undefined });
process.stdout.write('open\n');
process.stdin.resume();
await once(process.stdin, 'end');
await queue.close();
await queues.close();
