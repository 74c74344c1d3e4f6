// Creates an embedded database in the folder that is its argument. A process of its own, because this takes 800 MB.
import { PGlite } from '@electric-sql/pglite';

const database = await PGlite.create({ dataDir: String(process.argv[2]) });
await database.close();
