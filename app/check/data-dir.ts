// DATA_DIR, while anything is embedded. Its contents are not changed: the check creates a temporary folder in it, tries
// out the file system there, and removes that folder.
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { assertRoomForDatabase, lockDataDir } from '../../infra/runtime/data-dir.ts';
import { reasonOf } from '../../infra/runtime/reason.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import type { Config } from '../config.ts';
import type { Findings, Target } from './report.ts';

export function dataDirTargets({ DATA_DIR: dataDir, DATABASE_URL, MQTT_URL, PAYMENT_URL }: Config): Target[] {
  const embedded = [
    ...(DATABASE_URL ? [] : ['the database']),
    ...(MQTT_URL ? [] : ['the MQTT broker']),
    ...(PAYMENT_URL ? [] : ['the payment provider']),
  ];
  if (embedded.length === 0) return [];
  const check = () => checkFolder(resolve(dataDir), embedded);
  return [{ variable: 'DATA_DIR', server: dataDir, check }];
}

async function checkFolder(folder: string, embedded: readonly string[]): Promise<Findings> {
  const existing = nearestExisting(folder);
  let trial: string | undefined;
  try {
    trial = await mkdtemp(join(existing, '.sluice-check-'));
    const unlock = await lockDataDir(trial);
    await unlock();
    const version = await readFile(join(folder, 'database', 'PG_VERSION'), 'utf8').catch(() => undefined);
    const holdsDatabase = embedded.includes('the database');
    if (holdsDatabase && version === undefined) await assertRoomForDatabase(existing);
    return {
      ...(holdsDatabase && version && { version: `PGlite, PostgreSQL ${version.trim()}` }),
      facts: [`for ${embedded.join(', ')}`, 'files are locked, synced and renamed as needed'],
    };
  } catch (error) {
    if (error instanceof StartupError) return { problems: [error.message.replaceAll(trial ?? existing, folder)] };
    const reason = reasonOf(error).replace(/, mkdtemp .*/, '');
    return { problems: [`${existing} cannot be used for data: ${reason}; set DATA_DIR to another folder`] };
  } finally {
    if (trial) await rm(trial, { recursive: true, force: true });
  }
}

/** A start creates the missing folders. */
function nearestExisting(folder: string): string {
  return existsSync(folder) || dirname(folder) === folder ? folder : nearestExisting(dirname(folder));
}
