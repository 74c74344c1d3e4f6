// The cap as the length limit of a queue in RabbitMQ: messages beyond it are rejected (x-overflow: reject-publish),
// which the publisher learns from the confirm. A queue knows nothing about a stock.
import amqp, { type ChannelModel } from 'amqplib';
import { using } from '../using.ts';
import type { Sale, Strategy } from './strategy.ts';

const open = (url: string) => amqp.connect(url, { noDelay: true });
const withConnection = <T>(url: string, work: (connection: ChannelModel) => Promise<T>): Promise<T> =>
  using(open(url), (connection) => connection.close(), work);

export const lengthLimit = (type: 'quorum' | 'classic'): Strategy => ({
  open: (url, { id, cap }) =>
    withConnection(url, async (connection) => {
      const channel = await connection.createChannel();
      await channel.assertQueue(id, {
        durable: true,
        arguments: { 'x-queue-type': type, 'x-max-length': cap, 'x-overflow': 'reject-publish' },
      });
    }),

  async connect(url, { id }) {
    const connection = await open(url);
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

  /** The count leaves out messages that a consumer holds. */
  queued: (url, { id }) =>
    withConnection(url, async (connection) => {
      const channel = await connection.createChannel();
      return (await channel.checkQueue(id)).messageCount;
    }),
});

/** Meanwhile, a consumer takes as many messages as it may and finishes none. `held`: the number it has taken. */
export const whileHolding = <T>(
  url: string,
  { id }: Sale,
  prefetch: number,
  work: (held: () => number) => Promise<T>,
): Promise<T> =>
  withConnection(url, async (connection) => {
    const channel = await connection.createChannel();
    await channel.prefetch(prefetch);
    let held = 0;
    await channel.consume(id, () => {
      held++;
    });
    return work(() => held);
  });

export const rabbitmqVersion = (url: string): Promise<string> =>
  withConnection(url, async ({ connection }) => `RabbitMQ ${connection.serverProperties.version}`);
