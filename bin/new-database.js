// The new database that is part of a build. infra/database/initdb.js unpacks it, and describes its form.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Writes it to `folder`. Takes that of the previous build, in `previous`, if PGlite has the same version, because initdb
 * takes some seconds. If initdb fails, warns: then each first start runs it.
 */
export function addNewDatabase(folder, previous) {
  const { version } = JSON.parse(readFileSync(join(root, 'node_modules/@electric-sql/pglite/package.json'), 'utf8'));
  const name = `new-database-${version}.gz`;
  try {
    if (existsSync(join(previous, name))) copyFileSync(join(previous, name), join(folder, name));
    else writeFileSync(join(folder, name), packed());
  } catch (error) {
    rmSync(join(folder, name), { force: true });
    console.error(`build: without a new database, which each first start must create: ${error.message}`);
  }
}

function packed() {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-new-database-'));
  try {
    initdb(folder);
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => ({
      path: join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll('\\', '/'),
      isFolder: entry.isDirectory(),
    }));
    const folders = entries.filter(({ isFolder }) => isFolder).map(({ path }) => path);
    const files = entries
      .filter(({ isFolder }) => !isFolder)
      .map(({ path }) => ({ path, bytes: readFileSync(join(folder, path)) }));
    const index = { folders: folders.sort(), files: files.map(({ path, bytes }) => [path, bytes.length]) };
    return gzipSync(Buffer.concat([Buffer.from(`${JSON.stringify(index)}\n`), ...files.map(({ bytes }) => bytes)]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function initdb(folder) {
  const script = join(root, 'infra/database/initdb.js');
  const { status, signal, error, stderr } = spawnSync(process.execPath, [script, folder], { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(signal ? `initdb was killed by ${signal}` : stderr.trim());
}
