// Retries of failed messages without HTTP.
import { v7 as uuidv7 } from 'uuid';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import type { Database } from '../../infra/database/port.ts';
import type { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import type { FailedFilter } from '../../infra/messaging/failed-selection.ts';
import { ADMIN_MIGRATIONS, ADMIN_SCHEMA } from '../../infra/operators/operator-actions.ts';

const decision = { service: 'points', actor: { who: 'test', from: '127.0.0.1' } } as const;

/** Creates the tables that record what operators change. */
export const createAdminTables = async (database: Database): Promise<void> =>
  migrate(database, ADMIN_SCHEMA, await readMigrations(ADMIN_MIGRATIONS.folder, ADMIN_MIGRATIONS.set));

/** Returns how many were retried. Each call is a run of its own. */
export const retryFailed = ({ actions }: FailedMessages, filter: FailedFilter = {}, limit = 1): Promise<number> =>
  actions.retryMany(filter, { limit, run: uuidv7(), details: {} }, decision);

export const retryFailedOne = ({ actions }: FailedMessages, id: string): Promise<boolean> =>
  actions.retryOne(id, uuidv7(), decision);
