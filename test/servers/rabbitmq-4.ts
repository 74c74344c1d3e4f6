// RabbitMQ 4 on a system with an older version: Debian 13's packages, unpacked into a folder together with their own C
// library, shell and Erlang. The programs run with that folder as their root. Nothing is installed.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { canInstall } from './debian.ts';

const run = promisify(execFile);
const SUITE = 'trixie';
/** The server, and the packages that Debian's dependencies omit because every Debian has them. */
const PACKAGES = ['rabbitmq-server', 'base-files', 'bash', 'coreutils', 'dash', 'grep', 'mawk', 'sed'];
const PROGRAMS = 'usr/lib/rabbitmq/bin';

/** The root folder of RabbitMQ 4, 150 MB in the user's cache, kept for later runs. */
const rootFolder = () => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'sluice', 'rabbitmq-4');

/**
 * The root folder, unpacked now if it does not exist yet (downloads 65 MB from this machine's Debian mirror; 10 s).
 * Rejects with the reason if that is impossible: it requires Debian, root and a mirror that is reachable.
 */
export async function rabbitmq4Root(): Promise<string> {
  const root = rootFolder();
  if (!canInstall()) throw new Error('unpacking it requires root, and apt');
  // Running it requires mount namespaces, which not every container allows.
  await run('unshare', ['--mount', 'true']);
  if (existsSync(root)) return root;
  const work = `${root}-${randomUUID()}`;
  try {
    await unpack(await download(join(work, 'apt')), join(work, 'root'));
    if (!existsSync(root)) await rename(join(work, 'root'), root);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return root;
}

/** The command for one of its programs. Its mounts are private, and disappear when it ends. */
export function inRoot(root: string, program: string): [command: string, ...args: string[]] {
  const script =
    'root=$1; for folder in /proc /dev "$2"; do mkdir -p "$root$folder"; mount --rbind "$folder" "$root$folder"; done; shift 2; exec chroot "$root" "$@"';
  const path = program.startsWith('rabbitmq') ? `/${PROGRAMS}/${program}` : program;
  return ['unshare', '--mount', 'sh', '-c', script, 'sh', root, tmpdir(), path];
}

/**
 * Downloads the packages with apt, with lists and a cache of their own, as if none were installed. Returns their files.
 */
async function download(folder: string): Promise<string[]> {
  for (const part of ['state/lists/partial', 'cache/archives/partial'])
    await mkdir(join(folder, part), { recursive: true });
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const keys = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const sources = await file('debian.list', `deb [signed-by=${keys}] ${await mirror()} ${SUITE} main\n`);
  const options = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': await file('status', ''),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::SourceList': sources,
    'Dir::Etc::SourceParts': '/dev/null',
    'APT::Sandbox::User': 'root', // apt's own user may not write here
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '20',
  };
  const apt = (...args: string[]) =>
    run('apt-get', [...Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]), '-qq', ...args], {
      maxBuffer: 64 * 1024 * 1024,
      timeout: 300_000,
    });
  console.log("fetching Debian 13's packages of RabbitMQ 4 (nothing is installed)");
  await apt('--error-on=any', 'update');
  await apt('--yes', '--no-install-recommends', '--download-only', 'install', ...PACKAGES);
  const archives = join(folder, 'cache', 'archives');
  return (await readdir(archives)).filter((name) => name.endsWith('.deb')).map((name) => join(archives, name));
}

/** The URL of this machine's Debian mirror. */
async function mirror(): Promise<string> {
  const targets = async () => {
    const wanted = ['Origin: Debian', 'Component: main', 'Created-By: Packages'];
    const { stdout } = await run('apt-get', ['indextargets', '--format', '$(CODENAME) $(REPO_URI)', ...wanted]);
    // The first of "bookworm", "bookworm-updates" and similar.
    return stdout.match(/^\w+ (\S+)$/m)?.[1];
  };
  let found = await targets();
  if (!found) {
    await run('apt-get', ['-qq', 'update'], { timeout: 300_000 });
    found = await targets();
  }
  if (!found) throw new Error('this machine has no Debian mirror');
  return found;
}

async function unpack(packages: readonly string[], root: string): Promise<void> {
  await mkdir(root, { recursive: true });
  // First the package with the links /bin and /lib, through which files of the others are written.
  const ordered = [...packages].sort((a, b) => Number(b.includes('/base-files_')) - Number(a.includes('/base-files_')));
  for (const archive of ordered) await run('dpkg-deb', ['--extract', archive, root]);
  // The necessary part of the packages' own scripts.
  await symlink('mawk', join(root, 'usr/bin/awk'));
  await writeFile(join(root, 'etc/hosts'), '127.0.0.1 localhost\n');
  if (!existsSync(join(root, PROGRAMS, 'rabbitmq-server'))) throw new Error('the packages do not contain RabbitMQ');
}
