import { describe, expect, test } from 'vitest';
import { type LogEntry, LogReader } from '../../cli/logs/reader.ts';
import { logTopic, presenceTopic } from '../../infra/mqtt/topics.ts';

const batch = (...lines: unknown[]) => Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
const topic = logTopic('sluice', 'points');
const messages = (entries: LogEntry[]) =>
  entries.map((entry) => (entry.kind === 'line' ? (entry.line as { msg?: string }).msg : entry.state));

describe('a batch of log lines', () => {
  test('is read line by line; an unreadable line is counted and skipped', () => {
    const reader = new LogReader({ prefix: 'sluice' });
    const payload = Buffer.concat([batch({ msg: 'a' }), Buffer.from('{"msg":\n[1]\n7\n'), batch({ msg: 'b' })]);
    expect(messages(reader.read(topic, payload))).toEqual(['a', 'b']);
    expect(reader.unreadable).toBe(3);
  });

  test('is filtered by minimum level and by order', () => {
    const lines = batch(
      { level: 30, orderId: 'o1', msg: 'info' },
      { level: 40, orderId: 'o1', msg: 'warn' },
      { level: 50, orderId: 'o2', msg: 'error' },
    );
    const read = (filter: object) => messages(new LogReader({ prefix: 'sluice', ...filter }).read(topic, lines));
    expect(read({ level: 'warn' })).toEqual(['warn', 'error']);
    expect(read({ order: 'o1' })).toEqual(['info', 'warn']);
    expect(read({ order: 'o1', level: 'warn' })).toEqual(['warn']);
  });
});

describe('presence', () => {
  const at = (instance: string) => presenceTopic('sluice', 'points', instance);
  const says = (reader: LogReader, instance: string, state: string) =>
    messages(reader.read(at(instance), Buffer.from(state)));

  test('is shown when it changes, not when it is repeated', () => {
    const reader = new LogReader({ prefix: 'sluice' });
    expect(says(reader, 'a', 'online')).toEqual(['online']);
    expect(says(reader, 'a', 'online')).toEqual([]);
    expect(says(reader, 'b', 'online')).toEqual(['online']);
    expect(says(reader, 'a', 'offline')).toEqual(['offline']);
    expect(says(reader, 'a', 'online')).toEqual(['online']);
  });

  test('that is cleared is shown as stopped, if the instance was known', () => {
    const reader = new LogReader({ prefix: 'sluice' });
    expect(says(reader, 'a', '')).toEqual([]);
    says(reader, 'a', 'online');
    expect(reader.read(at('a'), Buffer.alloc(0))).toEqual([
      { kind: 'presence', service: 'points', instance: 'a', state: 'stopped' },
    ]);
  });

  test('with an unknown state is counted as unreadable', () => {
    const reader = new LogReader({ prefix: 'sluice' });
    expect(says(reader, 'a', 'on fire')).toEqual([]);
    expect(reader.unreadable).toBe(1);
  });
});
