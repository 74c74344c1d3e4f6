// Calls and streams between two threads, here between the two ends of a message channel.
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { MessageChannel } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DatabaseUnavailable } from '../../infra/database/port.ts';
import { PortStream } from '../../infra/runtime/port-stream.ts';
import { type Functions, ThreadCalls } from '../../infra/runtime/thread-calls.ts';

function channel() {
  const { port1, port2 } = new MessageChannel();
  onTestFinished(() => port1.close());
  return [port1, port2] as const;
}

function between<Theirs extends Functions>(functions: Theirs) {
  const [one, other] = channel();
  let messages = 0;
  other.on('message', () => messages++);
  new ThreadCalls({ port: other, functions, errors: [DatabaseUnavailable] });
  const calls = new ThreadCalls<Theirs>({ port: one, functions: {}, errors: [DatabaseUnavailable] });
  return { calls, messages: () => messages };
}

describe('calls of another thread', () => {
  test('settle with the results of its functions, and cross together', async () => {
    const { calls, messages } = between({ double: async (n: number) => 2 * n, now: () => new Date(5) });
    const results = await Promise.all([calls.call('double', 1), calls.call('double', 2), calls.call('now')]);
    expect(results).toEqual([2, 4, new Date(5)]);
    expect(messages()).toBe(1);
  });

  test('reject with an error of the same class, message and code', async () => {
    const { calls } = between({
      unavailable: () => Promise.reject(new DatabaseUnavailable(new Error('gone'))),
      violates: () => Promise.reject(Object.assign(new Error('duplicate key'), { code: '23505' })),
    });
    const unavailable = calls.call('unavailable');
    await expect(unavailable).rejects.toBeInstanceOf(DatabaseUnavailable);
    await expect(unavailable).rejects.toThrow('database unavailable: gone');
    await expect(calls.call('violates')).rejects.toMatchObject({ message: 'duplicate key', code: '23505' });
  });

  test('reject if the other thread has no such function', async () => {
    const { calls } = between<Functions>({ known: () => 1 });
    await expect(calls.call('unknown')).rejects.toThrow('the other thread has no function unknown');
  });

  test('reject once the other thread has ended, also those under way', async () => {
    const { calls } = between({ never: () => new Promise(() => {}) });
    const underWay = calls.call('never');
    calls.end(new Error('it has ended'));
    await expect(underWay).rejects.toThrow('it has ended');
    await expect(calls.call('never')).rejects.toThrow('it has ended');
  });
});

describe('a stream between two threads', () => {
  test('passes on bytes and its end in both directions', async () => {
    const [one, other] = channel().map((port) => new PortStream(port)) as [PortStream, PortStream];
    other.pipe(other); // sends everything back
    one.write('a');
    one.end(Buffer.alloc(1_000_000, 'b'));
    const chunks: Buffer[] = [];
    for await (const chunk of one) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe(`a${'b'.repeat(1_000_000)}`);
  });

  test('sends the chunks that wait for the other side together, and no other bytes', async () => {
    const [port, other] = channel();
    const messages: (string | Uint8Array)[] = [];
    other.on('message', (message: string | Uint8Array) => {
      messages.push(message);
      other.postMessage('taken');
    });
    const stream = new PortStream(port);
    for (const text of ['a', 'b', 'c']) stream.write(text);
    stream.end();
    await once(stream, 'finish');
    while (messages.length < 3) await turn();
    const sent = messages.map((message) => (typeof message === 'string' ? message : Buffer.from(message).toString()));
    expect(sent).toEqual(['a', 'bc', 'end']);
    expect(messages.slice(0, 2).map((message) => (message as Uint8Array).buffer.byteLength)).toEqual([1, 2]);
  });

  test('stops the writer while nobody reads', async () => {
    const [one, other] = channel().map((port) => new PortStream(port)) as [PortStream, PortStream];
    let taken = 0;
    const chunk = Buffer.alloc(16 * 1024);
    for (let each = 0; each < 100; each++) one.write(chunk, () => taken++);
    for (let each = 0; each < 200; each++) await turn();
    expect(taken).toBeLessThan(10);
    other.resume();
    if (one.writableNeedDrain) await once(one, 'drain');
    expect(taken).toBe(100);
  });

  test('is destroyed with its other end', async () => {
    const [one, other] = channel().map((port) => new PortStream(port)) as [PortStream, PortStream];
    other.destroy();
    await once(one, 'close');
    expect(one.destroyed).toBe(true);
  });
});
