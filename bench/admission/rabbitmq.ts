// The cap as the length limit of a queue in RabbitMQ: messages beyond it are rejected (x-overflow: reject-publish), which
// the publisher learns from the confirm. A queue knows nothing about a stock.
import amqp, { type ChannelModel } from 'amqplib';
import type { Sale, Strategy } from './strategy.ts';

type QueueType = 'quorum' | 'classic';

async function withConnection<T>(url: string, work: (connection: ChannelModel) => Promise<T>): Promise<T> {
  const connection = await amqp.connect(url, { noDelay: true });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

export const lengthLimit = (type: QueueType): Strategy => ({
  open: (url, { id, cap }) =>
    withConnection(url, async (connection) => {
      const channel = await connection.createChannel();
      await channel.assertQueue(id, {
        durable: true,
        arguments: { 'x-queue-type': type, 'x-max-length': cap, 'x-overflow': 'reject-publish' },
      });
    }),

  async connect(url, { id }) {
    const connection = await amqp.connect(url, { noDelay: true });
    const channel = await connection.createConfirmChannel();
    return {
      decide: (buyer) =>
        new Promise((resolve, reject) => {
          channel.sendToQueue(id, Buffer.from(buyer), { persistent: true }, (error: unknown) => {
            if (!error) resolve(true);
            else if (error instanceof Error && error.message === 'message nacked') resolve(false);
            else reject(error);
          });
        }),
      close: () => connection.close(),
    };
  },

  queued: readyMessages,
});

/** The count leaves out messages that a consumer holds. */
function readyMessages(url: string, { id }: Sale): Promise<number> {
  return withConnection(url, async (connection) => {
    const channel = await connection.createChannel();
    return (await channel.checkQueue(id)).messageCount;
  });
}

export interface Holder {
  /** Messages taken and not acknowledged. */
  readonly held: number;
  close(): Promise<void>;
}

/** A consumer that takes as many messages as it may and finishes none. */
export async function holdMessages(url: string, { id }: Sale, prefetch: number): Promise<Holder> {
  const connection = await amqp.connect(url, { noDelay: true });
  const channel = await connection.createChannel();
  await channel.prefetch(prefetch);
  let held = 0;
  await channel.consume(id, () => {
    held++;
  });
  return {
    get held() {
      return held;
    },
    close: () => connection.close(),
  };
}

export const rabbitmqVersion = (url: string): Promise<string> =>
  withConnection(url, async ({ connection }) => `RabbitMQ ${connection.serverProperties.version}`);
