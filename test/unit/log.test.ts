// The log for people and for programs, and its copy on the MQTT broker.
import { spawnSync } from 'node:child_process';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { MqttPublisher } from '../../infra/mqtt/port.ts';
import { createLog } from '../../infra/observability/log.ts';
import { formatLogLine } from '../../infra/observability/log-format.ts';
import { LogMirror } from '../../infra/observability/log-mirror.ts';
import type { Health } from '../../infra/runtime/health.ts';
import { deferred } from '../../infra/runtime/promises.ts';

const subjectName = 'orderId';
const action = {
  event: 'order.placed',
  orderId: '019a1111-2222-7333-8444-5555553f9c2e',
  ms: 3.2,
  outcome: 'done',
};
const at = new Date(2026, 10, 20, 12, 0, 1, 123).getTime();
const line = { level: 30, time: at, service: 'points', ...action, msg: 'done' };

describe('a formatted line', () => {
  test("shows a consumer's action aligned: time, service, event, order, duration, outcome", () => {
    expect(formatLogLine(line, { color: false, subjectName })).toBe(
      '12:00:01.123  points      ✓ order.placed            019a…3f9c2e     3 ms  done',
    );
    const other = {
      ...line,
      service: 'flash-sale',
      event: 'order.awaiting-payment',
      ms: 1234,
      outcome: 'dead',
      msg: 'dead',
    };
    expect(
      formatLogLine({ ...other, err: { message: 'no such user' }, attempts: 5 }, { color: false, subjectName }),
    ).toBe('12:00:01.123  flash-sale  ✗ order.awaiting-payment  019a…3f9c2e  1234 ms  dead  no such user  attempts=5');
  });

  test('has the same text with colours', () => {
    const coloured = formatLogLine(line, { color: true, subjectName });
    expect(coloured).toContain('\u001b[32m');
    expect(stripVTControlCharacters(coloured)).toBe(formatLogLine(line, { color: false, subjectName }));
  });

  test('shows any other line with its fields, and an error with its stack', () => {
    const listening = { level: 30, time: at, service: 'main', msg: 'listening', url: 'http://127.0.0.1:3000', n: [1] };
    expect(formatLogLine(listening, { color: false, subjectName })).toBe(
      '12:00:01.123  main        ·  listening  url=http://127.0.0.1:3000  n=[1]',
    );
    const failed = {
      level: 50,
      time: at,
      service: 'order',
      msg: 'failed',
      err: { message: 'boom', stack: 'E\n at x' },
    };
    expect(formatLogLine(failed, { color: false, subjectName })).toBe(
      '12:00:01.123  order       ✗  failed  boom\n    at x',
    );
  });

  test('lets no control character through to the terminal', () => {
    const hostile = { msg: 'a\u001b[2Jb\r\nc\u009b31m', service: '\u0007x', '\u001bkey': '\u001bvalue' };
    expect(formatLogLine(hostile, { color: false, subjectName })).not.toMatch(/\p{Cc}/u);
  });

  test('accepts any object as a line', () => {
    for (const odd of [
      {},
      { time: 'never' },
      { level: 'x', err: null },
      { outcome: 'done' },
      { outcome: 'toString' },
    ]) {
      expect(formatLogLine(odd, { color: false, subjectName })).toMatch(/^\S+ {2}/);
    }
  });
});

describe('the log', () => {
  const collect = () => {
    const lines: string[] = [];
    return { lines, write: (text: string) => void lines.push(text) };
  };

  test('writes JSON lines that carry the service, and the same to the mirror', () => {
    const destination = collect();
    const mirror = collect();
    const log = createLog({ level: 'info', pretty: false, destination, mirror }).child({ service: 'points' });
    log.info(action, 'done');
    log.debug('below the level');
    expect(destination.lines.map((text) => JSON.parse(text))).toEqual([
      { level: 30, time: expect.any(Number), service: 'points', ...action, msg: 'done' },
    ]);
    expect(mirror.lines).toEqual(destination.lines);
  });

  test('writes readable lines if they are configured, and JSON to the mirror', () => {
    const destination = collect();
    const mirror = collect();
    createLog({ level: 'debug', pretty: true, subjectName, destination, mirror })
      .child({ service: 'points' })
      .debug(action, 'done');
    expect(stripVTControlCharacters(String(destination.lines))).toMatch(/points {6}✓ order\.placed .* done\n$/);
    expect(JSON.parse(String(mirror.lines))).toMatchObject({ service: 'points', outcome: 'done' });
  });

  test('loses no line when the process exits right after', () => {
    const script = `
      import { createLog } from './infra/observability/log.ts';
      const log = createLog({ level: 'info', pretty: false }).child({ service: 'main' });
      for (let n = 0; n < 5000; n++) log.info({ n }, 'line');
      process.exit(0);`;
    const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      encoding: 'utf8',
      cwd: new URL('../..', import.meta.url),
    });
    const seen = stdout.trimEnd().split('\n');
    expect(seen.map((text) => (JSON.parse(text) as { n: number }).n)).toEqual(
      Array.from({ length: 5_000 }, (_, n) => n),
    );
  });
});

describe('the mirror', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** A broker that can be away, and records what is published. */
  function broker() {
    const published: { topic: string; payload: string; qos: number }[] = [];
    let status: Health['status'] = 'up';
    const publisher: MqttPublisher = {
      async publish(topic, payload, { qos }) {
        published.push({ topic, payload, qos });
      },
      health: () => ({ status }),
      interrupt: () => {},
      close: async () => {},
    };
    const lines = () => published.flatMap(({ payload }) => payload.trimEnd().split('\n'));
    const set = (next: Health['status']) => {
      status = next;
    };
    return { published, publisher, lines, set };
  }
  const lineOf = (service: string, msg: string) => `${JSON.stringify({ level: 30, time: at, service, msg })}\n`;

  test('sends NDJSON batches on the topic of each service, QoS 0, a few times a second', async () => {
    const { published, publisher } = broker();
    const mirror = new LogMirror('p');
    mirror.write(lineOf('points', 'before the start'));
    mirror.start(publisher);
    mirror.write(lineOf('order', 'one'));
    mirror.write(lineOf('order', 'two'));
    expect(published).toEqual([]);
    await vi.advanceTimersByTimeAsync(250);
    expect(published).toEqual([
      { topic: 'p/logs/points', payload: lineOf('points', 'before the start'), qos: 0 },
      { topic: 'p/logs/order', payload: lineOf('order', 'one') + lineOf('order', 'two'), qos: 0 },
    ]);
    await mirror.stop();
  });

  test('keeps the newest 1,000 lines while the broker is away, and reports the number of lost ones', async () => {
    const { publisher, lines, set } = broker();
    const mirror = new LogMirror('p');
    mirror.start(publisher);
    set('down');
    for (let n = 0; n < 1_500; n++) mirror.write(lineOf('order', String(n)));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(lines()).toEqual([]);
    set('up');
    await vi.advanceTimersByTimeAsync(250);
    const messages = lines().map((text) => JSON.parse(text) as { msg: string; lines?: number });
    expect(messages[0]?.msg).toBe('500');
    expect(messages.slice(0, 1_000).at(-1)?.msg).toBe('1499');
    expect(messages.slice(1_000)).toEqual([expect.objectContaining({ service: 'order', lines: 500 })]);
    await mirror.stop();
  });

  test('sends batches of at most 64 KiB', async () => {
    const { published, publisher, lines } = broker();
    const mirror = new LogMirror('p');
    mirror.start(publisher);
    for (let n = 0; n < 10; n++) mirror.write(lineOf('order', 'ü'.repeat(15_000)));
    mirror.write(lineOf('order', 'x'.repeat(64 * 1024)));
    await mirror.stop();
    expect(lines()).toHaveLength(11);
    expect(lines().at(-1)).toContain('"lines":1');
    for (const { payload } of published) expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(64 * 1024);
  });

  test('loses only lines when a publisher fails', async () => {
    const { publisher, lines } = broker();
    const mirror = new LogMirror('p');
    let fails = true;
    mirror.start({
      ...publisher,
      publish: (...args) => (fails ? Promise.reject(new Error('away')) : publisher.publish(...args)),
    });
    mirror.write(lineOf('order', 'lost'));
    await vi.advanceTimersByTimeAsync(250);
    fails = false;
    mirror.write(lineOf('order', 'kept'));
    await vi.advanceTimersByTimeAsync(250);
    expect(lines().map((text) => (JSON.parse(text) as { msg: string }).msg)).toEqual([
      'kept',
      'log lines were not mirrored',
    ]);
    await mirror.stop();
  });

  test('sends all batches of a flush that is still running when the mirror stops', async () => {
    const { publisher, lines } = broker();
    const mirror = new LogMirror('p');
    const sent = deferred();
    mirror.start({ ...publisher, publish: (...args) => sent.promise.then(() => publisher.publish(...args)) });
    for (let n = 0; n < 10; n++) mirror.write(lineOf('order', 'x'.repeat(15_000)));
    vi.advanceTimersByTime(250);
    await mirror.stop();
    sent.resolve();
    await vi.waitFor(() => expect(lines()).toHaveLength(10));
  });
});
