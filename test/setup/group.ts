// A database for the importing file, on PostgreSQL if available, and a group with new tables for each of its tests.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, inject } from 'vitest';
import type { Database } from '../../infra/database/port.ts';
import { type Databases, openDatabases } from './bus-fixtures.ts';
import { createTables, type Group } from './group-consumer.ts';

let databases: Databases;
export let database: Database;
export let group: Group;

beforeAll(async () => {
  databases = await openDatabases(inject('servers').databaseUrl);
  database = databases.database;
});
afterAll(() => databases?.close());
beforeEach(async () => {
  group = { name: 'points', schema: `m_${randomUUID().replaceAll('-', '')}` };
  await createTables(database, group);
});
