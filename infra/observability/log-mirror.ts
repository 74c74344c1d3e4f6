// Copies the log to the MQTT broker, `<prefix>/logs/<service>`, for `sluice logs` and the live view: NDJSON batches,
// QoS 0, bounded and lossy by design. It can neither slow nor fail a service, because a line only goes into a buffer in
// memory. It logs nothing itself: its own failures would come back to it.
import type { DestinationStream } from 'pino';
import type { MqttPublisher } from '../mqtt/port.ts';
import { logTopic, PROCESS_LOG, publishedQos } from '../mqtt/topics.ts';

/** Lines per service that wait, for example while the broker is away; beyond that the oldest are dropped. */
const MAX_WAITING_LINES = 1_000;
const MAX_BATCH_BYTES = 64 * 1024;
const FLUSH_EVERY_MS = 250;

export class LogMirror implements DestinationStream {
  readonly #prefix: string;
  /** The waiting lines of each service. The next batch reports how many were lost. */
  readonly #services = new Map<string, { lines: string[]; lost: number }>();
  #publisher: MqttPublisher | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** Starts sending, with the lines written before. The publisher comes late because it needs the log. */
  start(publisher: MqttPublisher): void {
    this.#publisher = publisher;
    this.#timer ??= setInterval(() => void this.#flush(), FLUSH_EVERY_MS);
  }

  write(line: string): void {
    const service = serviceOf(line);
    const waiting = this.#services.get(service) ?? { lines: [], lost: 0 };
    this.#services.set(service, waiting);
    if (Buffer.byteLength(line) > MAX_BATCH_BYTES) waiting.lost++;
    else if (waiting.lines.push(line) > MAX_WAITING_LINES) {
      waiting.lines.shift();
      waiting.lost++;
    }
  }

  /** Sends the waiting lines and stops. Does not close the publisher. Safe to call twice. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#flush();
    this.#publisher = undefined;
  }

  async #flush(): Promise<void> {
    // stop() may clear #publisher while this flush is still waiting.
    const publisher = this.#publisher;
    if (!publisher || publisher.health().status === 'down') return;
    for (const [service, waiting] of this.#services) {
      const { lines, lost } = waiting;
      if (lost > 0) lines.push(lossLine(service, lost));
      waiting.lines = [];
      waiting.lost = 0;
      for (const batch of batches(lines)) {
        const sent = publisher.publish(logTopic(this.#prefix, service), batch.join(''), { qos: publishedQos.log });
        await sent.catch(() => (waiting.lost += batch.length));
      }
    }
  }
}

/** By a pattern, because parsing every line would double the cost of the log. Child bindings come first in a line. */
const serviceOf = (line: string): string => /"service":"([A-Za-z0-9_-]+)"/.exec(line)?.[1] ?? PROCESS_LOG;

const lossLine = (service: string, count: number) =>
  `${JSON.stringify({ level: 40, time: Date.now(), service, lines: count, msg: 'log lines were not mirrored' })}\n`;

/** Whole lines, in order, in batches of at most MAX_BATCH_BYTES. No line is longer than that. */
function batches(lines: readonly string[]): string[][] {
  const all: string[][] = [];
  let bytes = MAX_BATCH_BYTES;
  for (const line of lines) {
    const size = Buffer.byteLength(line);
    bytes += size;
    if (bytes > MAX_BATCH_BYTES) {
      all.push([]);
      bytes = size;
    }
    all.at(-1)?.push(line);
  }
  return all;
}
