// A temporary folder for a server's data, owned by the user who runs the server.
import { chown, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A user of the operating system. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

export async function serverFolder(name: string, owner?: User): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `sluice-${name}-`));
  if (owner) await chown(folder, owner.uid, owner.gid);
  return folder;
}
