// Events in the messages of RabbitMQ: how they are put together and taken apart.
import type { Message } from 'amqplib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { eventSchemas } from '../../contracts/events.ts';
import { MAX_EVENT_BYTES, type OutgoingEvent } from '../../infra/bus/port.ts';
import { contentOf, elementsOf, eventsIn, packEvents } from '../../infra/bus/rabbitmq/batch.ts';
import { readMessage } from '../../infra/messaging/envelope.ts';

const received = (content: Buffer, contentType: string) => ({ content, properties: { contentType } }) as Message;

/** JSON texts of objects, with any white space around them. */
const bodies = fc
  .tuple(fc.object(), fc.constantFrom('', ' ', '\n\t '), fc.constantFrom(undefined, 2, '\t'))
  .map(([object, blank, indent]) => `${blank}${JSON.stringify(object, undefined, indent)}${blank}`);
const events = fc.array(
  fc
    .tuple(fc.uuid(), fc.constantFrom('order.placed', 'order.placed.ticket', 'points.awarded'), bodies)
    .map(([id, routingKey, body]): OutgoingEvent => ({ id, type: 'any', routingKey, body })),
  { maxLength: 30 },
);

test('events leave their messages byte for byte, each once, with their routing key and within the limits', () => {
  fc.assert(
    fc.property(events, fc.integer({ min: 1, max: 5 }), (sent, eventsPerMessage) => {
      const messages = packEvents(sent, eventsPerMessage);
      const arrived = messages.flatMap((message) => {
        const { content, contentType } = contentOf(message);
        expect(content.length).toBeLessThanOrEqual(MAX_EVENT_BYTES);
        const its = eventsIn(received(content, contentType));
        expect(its.length).toBeLessThanOrEqual(eventsPerMessage);
        return its.map(({ body }) => `${message.routingKey} ${body}`);
      });
      expect(arrived.sort()).toEqual(sent.map(({ routingKey, body }) => `${routingKey} ${body}`).sort());
    }),
  );
});

describe('the elements of an array', () => {
  test.each([
    ['[]', []],
    [' [ \n] ', []],
    ['[1]', ['1']],
    ['[[1,2],{"a":[3,{"b":4}]},"]"]', ['[1,2]', '{"a":[3,{"b":4}]}', '"]"']],
    ['["\\"",",","\\\\"]', ['"\\""', '","', '"\\\\"']],
    ['[{"a":,},{}]', ['{"a":,}', '{}']],
    ['[1,]', ['1', '']],
    ['["Füße, 🛒"]', ['"Füße, 🛒"']],
  ])('of %s', (json, elements) => {
    expect(elementsOf(Buffer.from(json))?.map(String)).toEqual(elements);
  });

  test.each(['', '{}', '1', '[1', '["]', '[1]2', '[{]', 'x[1]'])('%j is no array', (json) => {
    expect(elementsOf(Buffer.from(json))).toBeUndefined();
  });
});

// A service of 0.2.0 takes a batch for one event.
test('a batch that is taken for an event is unreadable, and all of it is stored', () => {
  const event = (letter: string) => ({ id: letter, type: 'order.placed', body: letter.repeat(10_000) });
  for (const message of packEvents(Array.from('abcdefghijkl', event), 200)) {
    const { content } = contentOf(message);
    const { body, ...read } = readMessage(eventSchemas, content);
    expect(read).toMatchObject({ error: expect.stringContaining('unreadable'), originalBytes: undefined });
    expect(Buffer.compare(content, Buffer.from(body))).toBe(0);
  }
});
