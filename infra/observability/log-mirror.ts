// Copies the log to the MQTT broker, `<prefix>/logs/<service>`, for `sluice logs` and the live view: NDJSON batches,
// QoS 0, bounded and lossy by design. It can neither slow nor fail a service: a line is put into a ring in memory and
// that is all. It never logs anything itself, or its own failures would feed it.
import type { DestinationStream } from 'pino';
import type { MqttPublisher } from '../mqtt/port.ts';
import { logTopic } from '../mqtt/topics.ts';

/** Lines of one service that wait, for example while the broker is away. Beyond, the oldest go. */
const MAX_WAITING_LINES = 1_000;
const MAX_BATCH_BYTES = 64 * 1024;
const FLUSH_EVERY_MS = 250;

export interface LogMirror extends DestinationStream {
  /** Starts sending; lines written before wait. Apart from the construction, because publishers log, too. */
  start(publisher: MqttPublisher): void;
  /** Sends what waits and stops. Does not close the publisher. Safe to call twice. */
  close(): Promise<void>;
}

/** What waits of one service. How many lines were lost is said in its next batch. */
interface Waiting {
  lines: string[];
  lost: number;
}

export function createLogMirror(prefix: string): LogMirror {
  const services = new Map<string, Waiting>();
  let publisher: MqttPublisher | undefined;
  let timer: NodeJS.Timeout | undefined;

  function waitingOf(service: string): Waiting {
    const known = services.get(service);
    if (known) return known;
    const waiting: Waiting = { lines: [], lost: 0 };
    services.set(service, waiting);
    return waiting;
  }

  async function flush(): Promise<void> {
    // Closing forgets the publisher while a flush may still wait for it.
    const target = publisher;
    if (!target || target.health().status === 'down') return;
    for (const [service, waiting] of services) {
      const { lines, lost } = waiting;
      if (lost > 0) lines.push(lossLine(service, lost));
      waiting.lines = [];
      waiting.lost = 0;
      for (const batch of batches(lines)) {
        const sent = target.publish(logTopic(prefix, service), batch.join(''), { qos: 0 });
        await sent.catch(() => (waiting.lost += batch.length));
      }
    }
  }

  return {
    write(line) {
      const waiting = waitingOf(serviceOf(line));
      if (Buffer.byteLength(line) > MAX_BATCH_BYTES) waiting.lost++;
      else if (waiting.lines.push(line) > MAX_WAITING_LINES) {
        waiting.lines.shift();
        waiting.lost++;
      }
    },
    start(to) {
      publisher = to;
      timer ??= setInterval(() => void flush(), FLUSH_EVERY_MS);
    },
    async close() {
      clearInterval(timer);
      await flush();
      publisher = undefined;
    },
  };
}

/** Read off the raw line, because parsing every line would double the log's cost. Child bindings stand first in it. */
const serviceOf = (line: string): string => /"service":"([A-Za-z0-9_-]+)"/.exec(line)?.[1] ?? 'main';

const lossLine = (service: string, count: number) =>
  `${JSON.stringify({ level: 40, time: Date.now(), service, lines: count, msg: 'log lines were not mirrored' })}\n`;

/** Whole lines, in order, in batches of at most MAX_BATCH_BYTES. No line is longer than that. */
function* batches(lines: readonly string[]): Generator<string[]> {
  let batch: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    const size = Buffer.byteLength(line);
    if (bytes + size > MAX_BATCH_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(line);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
