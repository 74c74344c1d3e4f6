// Mutations between a row and a handler: the outbox and its relay, the buses, the inbox.
import type { Mutation } from './mutation.ts';

const BUS = 'test/contract/bus.test.ts';
const INBOX = 'test/contract/inbox.test.ts';
const RABBITMQ = 'test/long/rabbitmq.test.ts';
const NEVER_CAME = '5 events have their effect on points';
const UNROUTABLE = '=> "unroutable"';

export const messagingMutations: readonly Mutation[] = [
  {
    name: 'acknowledge-before-handling',
    lesson:
      'RabbitMQ forgets an acknowledged message: if the process dies while it handles the message, both are lost.',
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
    lesson: 'A transport acknowledges when a promise resolves: it must not resolve before the effect is committed.',
    changes: [
      {
        file: 'infra/messaging/inbox.ts',
        find: 'await this.#counted(Promise.all(attempts))',
        replace: 'void this.#counted(Promise.all(attempts))',
      },
    ],
    tests: { files: [INBOX], pattern: 'resolves only once the effect is committed' },
    failure: 'expected true to be false',
  },
  {
    name: 'claim-by-in',
    lesson:
      'A subquery with LIMIT after IN may run once for each row: the plan was cached while the table was empty, and costs seconds when it is not.',
    changes: [
      {
        file: 'infra/messaging/inbox-store.ts',
        find: `       WHERE message_id = ANY (ARRAY(
         SELECT message_id FROM \${this.#table}
         WHERE \${WAITING} AND next_attempt_at <= now() AND \${condition}
         ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED))`,
        replace: `       WHERE message_id IN (
         SELECT message_id FROM \${this.#table}
         WHERE \${WAITING} AND next_attempt_at <= now() AND \${condition}
         ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
      },
    ],
    tests: { files: ['test/contract/cached-plans.test.ts'], pattern: 'the claim of an inbox' },
    failure: 'to be less than 20000',
  },
  {
    name: 'acknowledge-in-finally',
    lesson:
      'An acknowledgement in `finally` also covers a failed message, which is then neither handled nor a dead letter.',
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
    lesson:
      'After PUBACK an MQTT broker forgets the message: if it is only in memory by then, it is lost with the process.',
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
    lesson: 'Before the broker confirms an event, its outbox row is the only safe copy.',
    changes: [
      {
        file: 'infra/messaging/relay.ts',
        find: '    const unpublished = await publish(rows);',
        replace: `    for (const { position } of rows) this.#published.push(position);
    await this.#claim();
    const unpublished = await publish(rows);`,
      },
    ],
    tests: {
      files: ['test/contract/relay.test.ts'],
      pattern: 'publishes the same events again if a process dies',
    },
    failure: 'another process publishes the rows',
  },
  {
    name: 'publish-without-confirm',
    lesson: 'An event that was written to a socket may still be rejected, or lost with the broker.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/index.ts',
        find: '    this.#inFlight.add(pending);\n',
        replace: '    pending.settle();\n',
      },
    ],
    tests: { files: [BUS], pattern: 'AMQP on RabbitMQ rejects oversized and unroutable events' },
    failure: UNROUTABLE,
  },
  {
    name: 'publish-not-mandatory',
    lesson: 'RabbitMQ confirms an event that no queue receives; only `mandatory` makes it return the event.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/index.ts',
        find: 'persistent: true, mandatory: true,',
        replace: 'persistent: true, mandatory: false,',
      },
    ],
    tests: { files: [BUS], pattern: 'AMQP on RabbitMQ rejects oversized and unroutable events' },
    failure: UNROUTABLE,
  },
  {
    name: 'nobody-publishes-for-the-dead',
    lesson: 'The events that a process committed before it died wait for another one to publish them.',
    changes: [{ file: 'app/service-runner.ts', find: "claims: roles.includes('worker'),", replace: 'claims: false,' }],
    tests: {
      files: ['test/fault/roles.test.ts'],
      pattern: 'a worker publishes what a web process that crashed at outbox.before-publish',
    },
    failure: 'I6',
  },
  {
    name: 'batch-with-one-outcome',
    lesson: 'A broker rejects or returns a message, not an event: each event in the message is unpublished.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/index.ts',
        find: 'return error ? message.events.map(({ id }) => ({ id, error })) : [];',
        replace: 'return error ? [{ id: message.id, error }] : [];',
      },
    ],
    tests: { files: [RABBITMQ], pattern: 'no event of a returned message counts as published' },
    failure: 'to deeply equal',
  },
  {
    name: 'batch-with-any-key',
    lesson: 'A broker routes a message, not an event: an event in a message with another routing key gets lost.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/batch.ts',
        find: 'groupBy(events, ({ routingKey, type }) => routingKey ?? type)',
        replace: "groupBy(events, () => events[0]?.type ?? '')",
      },
    ],
    tests: { files: [RABBITMQ], pattern: 'events with the same routing key share messages' },
    failure: '4 messages wait',
  },
  {
    name: 'batch-dead-as-a-whole',
    lesson: 'One poison event makes its message a dead letter: the other events in it are not to blame.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/subscription.ts',
        find: 'return reason === DELIVERED_TOO_OFTEN && events.length > 1 ? undefined : reason;',
        replace: 'return reason;',
      },
    ],
    tests: { files: [RABBITMQ], pattern: 'its events are isolated instead of dead' },
    failure: 'the message is a dead letter',
  },
  {
    name: 'isolate-together',
    lesson: 'If several messages are tried at a time, the one that ends the process costs the others an attempt.',
    changes: [
      {
        file: 'infra/messaging/inbox-worker.ts',
        find: 'store.addUnfinished(database, messages)',
        replace: 'store.add(database, messages, 0)',
      },
    ],
    tests: { files: [INBOX], pattern: 'isolated messages are processed one by one' },
    failure: 'messages at a time',
  },
  {
    name: 'keep-the-old-binding',
    lesson: 'A broker keeps the bindings of earlier versions: one that is no longer declared still delivers.',
    changes: [
      {
        file: 'infra/bus/rabbitmq/declare.ts',
        find: 'await channel.unbindQueue(queue,',
        replace: 'await channel.bindQueue(queue,',
      },
    ],
    tests: { files: [RABBITMQ], pattern: 'loses the binding of 0.2.0' },
    failure: 'to have a length of 31',
  },
  {
    name: 'no-inbox-id',
    lesson: 'Delivery is at least once: without a record of handled messages, a redelivery has a second effect.',
    changes: [
      {
        file: 'infra/messaging/inbox-store.ts',
        find: `    const rows = await tx.query<{ message_id: string }>(
      \`INSERT INTO`,
        replace: `    if (messages.length > 0) return new Set(messages.map(({ messageId }) => messageId));
    const rows = await tx.query<{ message_id: string }>(
      \`INSERT INTO`,
      },
    ],
    tests: { files: [INBOX], pattern: 'a message that is delivered again has no second effect' },
    failure: '+     "event_id"',
  },
  {
    name: 'polls-skipped-when-due',
    lesson: 'A poll that found nothing may be skipped until a row changes, but also not beyond the next due time.',
    changes: [{ file: 'infra/database/poll.ts', find: 'return Date.now() >= this.#due.at;', replace: 'return false;' }],
    tests: { files: ['test/contract/poll.test.ts'], pattern: 'polls when a row becomes due a message to be retried' },
    failure: 'waited 10 s in vain for: the message is retried',
  },
  {
    name: 'attempts-not-counted',
    lesson: 'A message that ends its process must not be handled for the first time after each restart.',
    changes: [{ file: 'infra/messaging/relay.ts', find: 'true AS reclaimed', replace: 'false AS reclaimed' }],
    tests: { files: ['test/contract/local-bus.test.ts'], pattern: 'is stored before it is processed' },
    failure: '+     "method": "processOrEnqueue"',
  },
  {
    name: 'replies-not-resent',
    lesson: 'A reply can be lost too: if a repeated request is only dropped, its sender waits for ever.',
    changes: [
      {
        file: 'infra/messaging/inbox-transactions.ts',
        find: '    if (ids.length === 0) return;\n',
        replace: '    if (ids.length >= 0) return;\n',
      },
    ],
    tests: { files: ['test/contract/effects.test.ts'], pattern: 'replies to a repeated request' },
    failure: 'to deeply equal',
  },
];
