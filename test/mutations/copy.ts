// A copy of the source tree in a temporary folder, for mutations.
import { cp, symlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serverFolder } from '../../demos/shared/folder.ts';
import { startGuard } from '../../demos/shared/guard.ts';

export const sourceRoot = fileURLToPath(new URL('../../', import.meta.url));

export interface Copy {
  readonly root: string;
  /** Removes the copy; the death of this process removes it too. */
  remove(): Promise<void>;
}

/** Leaves out build results, local data, and node_modules, which is linked. */
const isSource = (path: string) =>
  !/^(node_modules|\.git|\.env|\.data|\.dist-.*|dist|coverage|[a-z]+-results)$/.test(path);

export async function copyOfSources(): Promise<Copy> {
  const root = await serverFolder('mutations');
  const guard = await startGuard('rm -rf -- "$1"', root);
  try {
    await cp(sourceRoot, root, { recursive: true, filter: (path) => isSource(relative(sourceRoot, path)) });
    await symlink(join(sourceRoot, 'node_modules'), join(root, 'node_modules'));
  } catch (error) {
    await guard.close();
    throw error;
  }
  return { root, remove: () => guard.close() };
}
