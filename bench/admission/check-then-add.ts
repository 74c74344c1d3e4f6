// The cap as a check before the work: counts the queue's jobs, and adds one if there is room. BullMQ on Redis.
import { Queue } from 'bullmq';
import type { Sale, Strategy } from './strategy.ts';

const queueOf = (url: string, { id }: Sale) => new Queue(id, { connection: { url }, skipMetasUpdate: true });

async function count(queue: Queue): Promise<{ queued: number; sold: number }> {
  const { waiting = 0, active = 0, completed = 0 } = await queue.getJobCounts('waiting', 'active', 'completed');
  return { queued: waiting + active, sold: waiting + active + completed };
}

export const checkThenAdd: Strategy = {
  async open() {},

  async connect(url, sale) {
    const queue = queueOf(url, sale);
    await queue.waitUntilReady();
    return {
      async decide(buyer) {
        const { queued, sold } = await count(queue);
        if (queued >= sale.cap || sold >= sale.stock) return false;
        await queue.add('purchase', { buyer }, { jobId: buyer });
        return true;
      },
      close: () => queue.close(),
    };
  },

  async queued(url, sale) {
    const queue = queueOf(url, sale);
    try {
      return (await count(queue)).queued;
    } finally {
      await queue.close();
    }
  },
};
