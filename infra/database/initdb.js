// `node initdb.js <folder>`: creates an embedded database in a folder that is empty or missing. A build contains one
// (bin/new-database.js), because initdb takes most of a first start; without it, or with another version of PGlite, runs
// initdb. A process of its own, because this allocates up to 800 MB, of which a process would never release 100 MB.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

const pglite = import.meta.resolve('@electric-sql/pglite');
const { version } = JSON.parse(readFileSync(new URL('../package.json', pglite), 'utf8'));
const built = new URL(`./new-database-${version}.gz`, import.meta.url);

try {
  const folder = String(process.argv[2]);
  if (existsSync(built)) unpack(readFileSync(built), folder);
  else await initdb(folder);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/** The bytes of all files follow one another after a line of JSON: their paths and sizes, and all folders. */
function unpack(packed, folder) {
  const archive = gunzipSync(packed);
  const end = archive.indexOf('\n');
  const { folders, files } = JSON.parse(archive.subarray(0, end).toString());
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const path of folders) mkdirSync(join(folder, path), { mode: 0o700 });
  let at = end + 1;
  for (const [path, size] of files) {
    writeFileSync(join(folder, path), archive.subarray(at, at + size), { mode: 0o600 });
    at += size;
  }
}

async function initdb(dataDir) {
  const { PGlite } = await import(pglite);
  await (await PGlite.create({ dataDir })).close();
}
