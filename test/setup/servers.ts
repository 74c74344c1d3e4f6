// PostgreSQL, RabbitMQ, Mosquitto and Redis, started once for all projects of a run that need them. Tests keep apart by fresh
// databases and prefixes. `inject('servers')` gives their URLs; what is missing is undefined there, and a failure in CI.
import type { ProvidedContext } from 'vitest';
import type { TestProject } from 'vitest/node';
import { findServers, type ServerUrls, type SharedServers } from '../../infra/local/find.ts';

declare module 'vitest' {
  interface ProvidedContext {
    servers: ServerUrls & { missing: string[] };
  }
}

interface Shared {
  readonly servers: Promise<SharedServers>;
  users: number;
}

// On globalThis, because each project loads this module anew, all in the one main process.
const holder = globalThis as typeof globalThis & { sluiceTestServers?: Shared };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  holder.sluiceTestServers ??= { servers: findServers(), users: 0 };
  const shared = holder.sluiceTestServers;
  shared.users += 1;
  const { urls, missing, stop } = await shared.servers;

  const teardown = async () => {
    shared.users -= 1;
    if (shared.users > 0) return;
    delete holder.sluiceTestServers;
    await stop();
    for (const line of missing) console.warn(`Not tested against everything: ${line}`);
  };
  if (process.env.CI && missing.length > 0) {
    await teardown();
    throw new Error(`in CI every server must be there:\n${missing.join('\n')}`);
  }
  const provided: ProvidedContext['servers'] = { ...urls, missing: [...missing] };
  project.provide('servers', provided);
  return teardown;
}
