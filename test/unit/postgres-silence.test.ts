// A stop while no new connection to PostgreSQL can be made. The contract tests have real servers.
import { EventEmitter, once } from 'node:events';
import type pg from 'pg';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { OpenConnections } from '../../infra/database/postgres-silence.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A client that does not connect until its socket is destroyed. */
function clientOf() {
  const connection = Object.assign(new EventEmitter(), {
    stream: { destroyed: false, destroy: () => connection.emit('end') },
  });
  connection.once('end', () => {
    connection.stream.destroyed = true;
  });
  const connect = () => once(connection, 'end').then(() => Promise.reject(new Error('Connection terminated')));
  const client = Object.assign(new EventEmitter(), { connection, connect }) as unknown as pg.Client;
  return { client, connection };
}

test('connections are severed once no statement has ended for a second', async () => {
  const connections = new OpenConnections();
  const { client, connection } = clientOf();
  connections.track(client);
  connections.interrupt(() => clientOf().client);
  for (let statement = 0; statement < 10; statement++) {
    await vi.advanceTimersByTimeAsync(400);
    connection.emit('commandComplete');
  }
  expect(connection.stream.destroyed).toBe(false);
  connection.emit('readyForQuery'); // a pooler says so by itself
  await vi.advanceTimersByTimeAsync(2_000);
  expect(connection.stream.destroyed).toBe(true);
});
