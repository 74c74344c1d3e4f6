// Compiles the program once per run, where it is stale: these tests start it as a process of its own.
import { execFileSync } from 'node:child_process';

export default function setup(): void {
  execFileSync(process.execPath, ['bin/build.js', '--if-stale'], { stdio: 'inherit' });
}
