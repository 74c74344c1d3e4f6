// Mistakes between a row and a handler: the outbox and its relay, the buses, the inbox.
import type { Mutation } from './mutation.ts';

const BUS = 'test/contract/bus.test.ts';
const MESSAGING = 'test/contract/messaging.test.ts';
const RABBITMQ = 'test/contract/rabbitmq.test.ts';
const NEVER_CAME = '5 events have their effect on points';
const UNROUTABLE = '=> "unroutable"';

export const messagingMutations: readonly Mutation[] = [
  {
    name: 'acknowledge-before-handling',
    lesson: 'RabbitMQ forgets what is acknowledged: a process that dies while it handles a message takes it along.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/consumer.ts',
        find: `      await handle(batch);
    } catch (error) {`,
        replace: `      settle(session, batch, true);
      return await handle(batch);
    } catch (error) {`,
      },
    ],
    tests: { files: [BUS], pattern: 'AMQP on RabbitMQ delivers messages that a process had received and not stored' },
    failure: NEVER_CAME,
  },
  {
    name: 'acknowledge-before-commit',
    lesson: 'Whoever may acknowledge is told so by a promise: it must not resolve before the effect is committed.',
    changes: [
      {
        file: 'infra/messaging/inbox.ts',
        find: "await Promise.all(ours.map(({ body, read }) => this.#attempt(read, body, 'arrival', 1)));",
        replace: "void Promise.all(ours.map(({ body, read }) => this.#attempt(read, body, 'arrival', 1)));",
      },
    ],
    tests: { files: [MESSAGING], pattern: 'what arrives counts as taken in when its effect is committed' },
    failure: 'expected true to be false',
  },
  {
    name: 'acknowledge-in-finally',
    lesson: 'An acknowledgement in `finally` also acknowledges what failed: it is neither handled nor a dead letter.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/consumer.ts',
        find: '      handled = false;\n',
        replace: '',
      },
    ],
    tests: { files: [RABBITMQ], pattern: 'dead-letters a message whose deliveries all fail' },
    failure: 'the message is a dead letter',
  },
  {
    name: 'puback-before-stored',
    lesson: 'PUBACK ends what an MQTT broker owes: a message that is only in memory then is lost with the process.',
    changes: [
      {
        file: 'infra/bus/mqtt/inbound-buffer.ts',
        find: '      try {\n        const events = batch.filter(',
        replace: '      try {\n        acknowledge(batch);\n        const events = batch.filter(',
      },
      {
        file: 'infra/bus/mqtt/inbound-buffer.ts',
        find: '        acknowledge(batch);\n      } catch',
        replace: '      } catch',
      },
    ],
    tests: { files: [BUS], pattern: 'MQTT on Mosquitto delivers messages that a process had received and not stored' },
    failure: NEVER_CAME,
  },
  {
    name: 'delete-before-confirm',
    lesson: 'An outbox row that is deleted before the broker confirmed its event is the only copy, thrown away.',
    changes: [
      {
        file: 'infra/messaging/relay.ts',
        find: '    const unpublished = await publish(rows);',
        replace: `    for (const { position } of rows) this.#published.push(position);
    await this.#turnOver();
    const unpublished = await publish(rows);`,
      },
    ],
    tests: {
      files: [MESSAGING],
      pattern: 'what a process took along that died before the confirm',
    },
    failure: 'another process publishes it',
  },
  {
    name: 'publish-without-confirm',
    lesson: 'That an event was written to a socket says nothing: the broker may reject it, or be gone.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/publisher.ts',
        find: `    this.#inFlight.add(flight);
`,
        replace: '    batch.settle(id, undefined);\n',
      },
    ],
    tests: { files: [BUS], pattern: 'AMQP on RabbitMQ rejects oversized and unroutable events' },
    failure: UNROUTABLE,
  },
  {
    name: 'publish-not-mandatory',
    lesson: 'RabbitMQ confirms what no queue receives, too: only `mandatory` makes it say so.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/publisher.ts',
        find: 'persistent: true, mandatory: true,',
        replace: 'persistent: true, mandatory: false,',
      },
    ],
    tests: { files: [BUS], pattern: 'AMQP on RabbitMQ rejects oversized and unroutable events' },
    failure: UNROUTABLE,
  },
  {
    name: 'no-inbox-id',
    lesson: 'Delivery is at least once: without a record of what was handled, a redelivery is a second effect.',
    changes: [
      {
        file: 'infra/messaging/inbox-store.ts',
        find: `      messages.map(({ messageId, type, subject }) => [messageId, { messageId, type, subject }] as const),
    );
    const rows = await tx.query`,
        replace: `      messages.map(({ messageId, type, subject }) => [messageId, { messageId, type, subject }] as const),
    );
    if (once.size > 0) return new Set(once.keys());
    const rows = await tx.query`,
      },
    ],
    tests: { files: [MESSAGING], pattern: 'what is delivered again has no second effect' },
    failure: '+     "event_id"',
  },
  {
    name: 'answers-not-repeated',
    lesson:
      'An answer can be lost as well. If a repeated question is only dropped as known, whoever asks waits for ever.',
    changes: [
      {
        file: 'infra/messaging/inbox-transactions.ts',
        find: '    if (messages.length === 0) return;\n    const { rows, handlers }',
        replace: '    if (messages.length >= 0) return;\n    const { rows, handlers }',
      },
    ],
    tests: { files: ['test/contract/effects.test.ts'], pattern: 'a question that is asked again gets the answer' },
    failure: 'to deeply equal',
  },
];
