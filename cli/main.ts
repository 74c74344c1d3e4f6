// The entry point of the `sluice` process, for bin/sluice.js and `npm run dev`. The process ends by itself once the
// command has closed everything it opened; process.exit() would hide a leak.
import { run } from './program.ts';

// The reader of the output has ended, as in `sluice failed list | head -1`, or its disk is full. Without a listener
// Node.js would print a stack.
process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  if (process.stdout.listenerCount('error') > 1) return; // untilInterrupted ends the command
  if (code !== 'EPIPE') process.stderr.write(`error: the output cannot be written: ${message}\n`);
  process.exit(1);
});
process.stderr.on('error', () => {});

process.exitCode = await run(process.argv.slice(2));
