// Installs servers from Debian's packages, without starting the instance that each package sets up.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const canInstall = () => process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');

let queue: Promise<unknown> = Promise.resolve();

/** One at a time, as dpkg requires; waits up to 5 minutes for an installation that another process runs. */
export function installPackage(name: string): Promise<void> {
  const turn = queue.then(() => install(name));
  queue = turn.catch(() => undefined); // its caller gets the error; the next installation starts anyway
  return turn;
}

async function install(name: string): Promise<void> {
  console.log(`installing Debian's package ${name} (its own instance is not started)`);
  const undo = await preventAutostart();
  try {
    const apt = (...args: string[]) =>
      run('apt-get', ['-o', 'DPkg::Lock::Timeout=300', '-qq', ...args], {
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
        maxBuffer: 64 * 1024 * 1024,
      });
    await apt('update');
    await apt('install', '-y', '--no-install-recommends', name);
  } finally {
    await undo();
  }
}

/** Debian's own switches: exit code 101 prevents the start of services, the other file PostgreSQL's first cluster. */
async function preventAutostart(): Promise<() => Promise<void>> {
  const written = [
    await writeNew('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755),
    await writeNew('/etc/postgresql-common/createcluster.conf', 'create_main_cluster = false\n', 0o644),
  ];
  return async () => {
    // The second file stays, for installations of later PostgreSQL versions.
    if (written[0]) await rm('/usr/sbin/policy-rc.d');
  };
}

/** Leaves an existing file unchanged: it is the administrator's. */
async function writeNew(file: string, text: string, mode: number): Promise<boolean> {
  if (existsSync(file)) return false;
  await mkdir(file.slice(0, file.lastIndexOf('/')), { recursive: true });
  await writeFile(file, text, { mode, flag: 'wx' });
  return true;
}
