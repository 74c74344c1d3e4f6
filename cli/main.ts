// The entry point of the `sluice` process, for bin/sluice.js and `npm run dev`. The process ends by itself once the
// command has closed everything it opened; process.exit() would hide a leak.
import { run } from './program.ts';

process.exitCode = await run(process.argv.slice(2));
