// A process that a test kills: it claims a job from a queue on Redis, prints its id, and never finishes it.
import { pino } from 'pino';
import { openQueues } from '../../infra/queue/index.ts';

const [redisUrl = '', prefix = '', name = ''] = process.argv.slice(2);
const queues = await openQueues({ on: { redisUrl }, prefix, log: pino({ level: 'silent' }) });
await queues.open({
  name,
  perSecond: 100,
  work: (id) => {
    process.stdout.write(`${id}\n`);
    return new Promise(() => undefined);
  },
  onLastFailure: () => undefined,
});
