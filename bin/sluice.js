#!/usr/bin/env node
// Starts the `sluice` command from a fresh checkout: checks Node and the dependencies, compiles stale sources, and runs
// the command in the same process, so that signals and exit codes are its own.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) fail(`sluice needs Node.js 20.19 or newer; this is ${process.version}`);

const root = new URL('..', import.meta.url);
if (!existsSync(new URL('node_modules', root))) {
  fail(`the dependencies are not installed: run \`npm ci\` in ${fileURLToPath(root)} first`);
}

const { isStale } = await import('./build.js');
if (isStale()) {
  console.error('compiling …');
  // In a process of its own, because this one would never release the memory of the bundler.
  const build = [fileURLToPath(new URL('build.js', import.meta.url)), '--if-stale'];
  const { status } = spawnSync(process.execPath, build, { stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(1); // the build has said why
}
await import('../dist/cli/main.js');

function fail(reason) {
  console.error(`sluice: ${reason}`);
  process.exit(1);
}
