// PostgreSQL, RabbitMQ, Mosquitto and Redis, started once for all projects of a run that need them. Tests are isolated
// by fresh databases and prefixes. `inject('servers')` returns their URLs; that of a missing server is undefined, and
// fails in CI. Beside them, a new embedded database is created, for newPglite().
import type { ProvidedContext } from 'vitest';
import type { TestProject } from 'vitest/node';
import { findServers, type ServerUrls, type SharedServers } from '../servers/find.ts';
import { findRabbitmq4 } from '../servers/rabbitmq.ts';
import { createPgliteTemplate, type PgliteTemplate } from './pglite.ts';

declare module 'vitest' {
  interface ProvidedContext {
    servers: ServerUrls & {
      missing: string[];
      /** Whether the fault suite can start RabbitMQ 4. It is optional in CI, because it may need a download. */
      rabbitmq4: boolean;
    };
    /** The folder of a new embedded database. */
    pgliteTemplate: string;
  }
}

interface Shared {
  readonly servers: Promise<SharedServers>;
  readonly template: Promise<PgliteTemplate>;
  users: number;
}

// On globalThis, because each project loads this module anew, all in the one main process.
const holder = globalThis as typeof globalThis & { sluiceTestServers?: Shared };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  holder.sluiceTestServers ??= { servers: findServers(), template: createPgliteTemplate(), users: 0 };
  const shared = holder.sluiceTestServers;
  shared.users += 1;
  const [{ urls, missing, stop }, template] = await Promise.all([shared.servers, shared.template]);
  // Only if it is used, because this may download it.
  const forFaults = project.name === 'fault';
  const rabbitmq4Missing = forFaults ? await whyNoRabbitmq4() : undefined;

  const teardown = async () => {
    if (rabbitmq4Missing) console.warn(`Not tested against everything: ${rabbitmq4Missing}`);
    shared.users -= 1;
    if (shared.users > 0) return;
    delete holder.sluiceTestServers;
    await Promise.all([stop(), template.remove()]);
    for (const line of missing) console.warn(`Not tested against everything: ${line}`);
  };
  if (process.env.CI && missing.length > 0) {
    await teardown();
    throw new Error(`in CI every server must be there:\n${missing.join('\n')}`);
  }
  const provided: ProvidedContext['servers'] = {
    ...urls,
    missing: [...missing],
    rabbitmq4: forFaults && !rabbitmq4Missing,
  };
  project.provide('servers', provided);
  project.provide('pgliteTemplate', template.folder);
  return teardown;
}

const whyNoRabbitmq4 = () =>
  findRabbitmq4().then(
    () => undefined,
    (error: Error) => error.message,
  );
