// A process with an embedded broker, to be killed by a test. It creates a session, announces its presence, publishes
// numbers to that session without end, and prints each confirmed one.
import { pino } from 'pino';
import { EmbeddedBroker } from '../../infra/mqtt/embedded/broker.ts';
import { Presence } from '../../infra/mqtt/presence.ts';

const [dataDir = ''] = process.argv.slice(2);
const log = pino({ level: 'silent' });
const { publisher, connectInternal } = await EmbeddedBroker.start({
  dataDir,
  host: '127.0.0.1',
  port: 0,
  prefix: 'p',
  log,
});

const session = connectInternal({ clientId: 'p-group', clean: false });
await session.subscribeAsync('p/events/number', { qos: 1 });
await session.endAsync();
new Presence({ broker: { publisher }, prefix: 'p', service: 'doomed', instance: '1', log }).start();

const publishNext = async (number: number): Promise<void> => {
  await publisher.publish('p/events/number', String(number), { qos: 2 });
  process.stdout.write(`${number}\n`);
  return publishNext(number + 20);
};
for (let lane = 0; lane < 20; lane++) void publishNext(lane);
