// Where the `sluice` process begins: bin/sluice.js and `npm run dev` import or run this. It ends by itself when the
// command has closed what it opened; process.exit() would hide a leak.
import { run } from './program.ts';

process.exitCode = await run(process.argv.slice(2));
