// Reads messages of the log and presence topics. Any publisher may have written them, so an unreadable message is
// counted and never fatal.
import { z } from 'zod';
import { presenceTopic } from '../../infra/mqtt/topics.ts';

/** Least severe first; the values are pino's. */
const severities = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, fatal: 60 } as const;
export type Level = keyof typeof severities;
export const levels = Object.keys(severities) as Level[];

export type LogEntry =
  | { readonly kind: 'line'; readonly line: object }
  | { readonly kind: 'presence'; readonly service: string; readonly instance: string; readonly state: Presence };

/** `stopped`: the process stopped cleanly. `offline`: the broker lost its connection (Last Will). */
export type Presence = 'online' | 'offline' | 'stopped';

export interface Filter {
  readonly prefix: string;
  /** The lowest level to show. */
  readonly level?: Level;
  /** Only lines about this order. Presence is always shown. */
  readonly order?: string;
}

/** Instances whose state is kept, to show changes only. Beyond that, all states are shown once more. */
const MAX_INSTANCES = 10_000;

export class LogReader {
  readonly #filter: Filter;
  /** The part of a presence topic before `<service>/<instance>`. */
  readonly #presencePrefix: string;
  readonly #present = new Map<string, Presence>();
  /** The number of unreadable lines and presence messages. */
  unreadable = 0;

  constructor(filter: Filter) {
    this.#filter = filter;
    this.#presencePrefix = presenceTopic(filter.prefix, '', '').slice(0, -1);
  }

  read(topic: string, payload: Buffer): LogEntry[] {
    return topic.startsWith(this.#presencePrefix) ? this.#readPresence(topic, payload) : this.#readBatch(payload);
  }

  /** NDJSON. A bad line does not affect the other lines. */
  #readBatch(payload: Buffer): LogEntry[] {
    const entries: LogEntry[] = [];
    for (const text of payload.toString().split('\n')) {
      if (text === '') continue;
      const line = parseObject(text);
      if (!line) this.unreadable++;
      else if (this.#isWanted(line)) entries.push({ kind: 'line', line });
    }
    return entries;
  }

  #isWanted(line: Readonly<Record<string, unknown>>): boolean {
    const { level, order } = this.#filter;
    const severity = typeof line.level === 'number' ? line.level : severities.info;
    return (level === undefined || severity >= severities[level]) && (order === undefined || line.orderId === order);
  }

  /** Services repeat their presence; only changes are entries. */
  #readPresence(topic: string, payload: Buffer): LogEntry[] {
    const [service, instance] = topic.slice(this.#presencePrefix.length).split('/');
    const state = payload.length === 0 ? 'stopped' : payload.toString();
    if (!service || !instance || (state !== 'online' && state !== 'offline' && state !== 'stopped')) {
      this.unreadable++;
      return [];
    }
    const before = this.#present.get(topic);
    if (before === state || (before === undefined && state === 'stopped')) return [];
    if (this.#present.size >= MAX_INSTANCES) this.#present.clear();
    if (state === 'stopped') this.#present.delete(topic);
    else this.#present.set(topic, state);
    return [{ kind: 'presence', service, instance, state }];
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return z.record(z.string(), z.unknown()).safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // the caller counts it
  }
}
