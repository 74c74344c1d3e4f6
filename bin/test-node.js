// `npm run test:node -- 24`: runs the tests on another major version of Node.js, which it installs from the npm
// registry on first use, into node_modules/.cache. Further arguments go to Vitest; without any, the projects of
// `npm test` run.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [major, ...args] = process.argv.slice(2);
if (!/^\d+$/.test(major ?? '')) fail('which Node.js? For example: npm run test:node -- 24 [arguments of Vitest]');

/** Holds bin/node and no install script. */
const name = `node-${process.platform}-${process.arch}`;
const folder = join(root, 'node_modules/.cache', `node-${major}`);
const bin = join(folder, 'node_modules', name, 'bin');
if (!existsSync(join(bin, 'node'))) {
  console.error(`installing ${name}@${major} …`);
  mkdirSync(folder, { recursive: true });
  const options = ['--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'];
  if (run('npm', ['install', ...options, `${name}@${major}`]) !== 0) fail(`npm has no ${name}@${major}`);
}

// First in PATH, so that programs that the tests start (npm, npx, scripts with a shebang) run on it, too.
const env = { ...process.env, PATH: [bin, process.env.PATH].join(delimiter) };
const projects = ['unit', 'mocking', 'contract', 'service', 'security', 'e2e'].flatMap((project) => [
  '--project',
  project,
]);
const vitest = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...(args.length > 0 ? args : projects)];
run(join(bin, 'node'), ['--version'], env);
process.exitCode = run(join(bin, 'node'), vitest, env);

/** Returns the exit code; the output goes to the terminal. */
function run(command, parameters, environment = process.env) {
  const { status, error } = spawnSync(command, parameters, { cwd: root, env: environment, stdio: 'inherit' });
  if (error) fail(`${command}: ${error.message}`);
  return status ?? 1;
}

function fail(reason) {
  console.error(`test:node: ${reason}`);
  process.exit(2);
}
