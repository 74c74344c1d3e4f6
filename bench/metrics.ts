// Reads the running system's metrics over HTTP, so that a database inside a process can be measured like a separate
// one. The totals that are read after the run are exact.
import { setTimeout as delay } from 'node:timers/promises';
import { authorizationFor } from '../demos/shared/credentials.ts';
import { recordedSteps, samplesOf, totalOf } from '../demos/shared/metrics.ts';
import type { System } from './system.ts';

export const POLL_MS = 200;
const COMPLETED_WITHIN_MS = 180_000;

export interface Reading {
  /** By performance.now(). */
  readonly at: number;
  /** Orders with all three results recorded. It may lag, in a steady state always by the same number. */
  readonly completed: number;
}

export async function metricsOf(url: string): Promise<string> {
  const authorization = authorizationFor(url);
  const response = await fetch(`${url}/metrics`, { headers: authorization === undefined ? {} : { authorization } });
  if (!response.ok) throw new Error(`${url}/metrics responded with ${response.status}`);
  return response.text();
}

export async function readCompleted({ url }: System): Promise<Reading> {
  const before = performance.now();
  const completed = Math.min(...Object.values(recordedSteps(await metricsOf(url))));
  return { at: (before + performance.now()) / 2, completed };
}

/** Rows in all outboxes: events and notifications that are not published yet. Rejects if a process reports none. */
export async function outboxRows({ urls }: System): Promise<number> {
  const samples = (await Promise.all(urls.map(metricsOf))).map((text) => samplesOf(text, 'sluice_outbox_rows'));
  if (samples.some(({ length }) => length === 0)) throw new Error('a process does not report its outbox rows');
  return totalOf(samples.flat());
}

/** Resolves when that many orders are completed and all events and notifications are published. */
export const untilCompleted = (system: System, orders: number, withinMs = COMPLETED_WITHIN_MS): Promise<Reading> =>
  poll(withinMs, async () => {
    const reading = await readCompleted(system);
    const rows = reading.completed < orders ? 'not read' : await outboxRows(system);
    if (rows === 0) return reading;
    return `${reading.completed} of ${orders} orders are completed, outbox rows: ${rows}`;
  });

/**
 * Resolves with the first value of `read` that is no text; a text is the state so far, for the error after `withinMs`.
 */
export async function poll<T>(withinMs: number, read: () => Promise<T | string>): Promise<T> {
  for (const deadline = performance.now() + withinMs; ; await delay(POLL_MS)) {
    const value = await read();
    if (typeof value !== 'string') return value;
    if (performance.now() > deadline) throw new Error(`after ${withinMs / 1_000} s, ${value}`);
  }
}
