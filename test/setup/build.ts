// Compiles stale sources once per run, because these tests start the program as a process.
import { execFileSync } from 'node:child_process';

export default function setup(): void {
  execFileSync(process.execPath, ['bin/build.js', '--if-stale'], { stdio: 'inherit' });
}
