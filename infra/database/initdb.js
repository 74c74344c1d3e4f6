// `node initdb.js <folder>`: creates an embedded database in a folder that is empty or missing. A process of its own,
// because initdb allocates 800 MB, of which a process would never release 100 MB.
import { PGlite } from '@electric-sql/pglite';

try {
  await (await PGlite.create({ dataDir: String(process.argv[2]) })).close();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
