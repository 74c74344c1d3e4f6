// Crashes at failpoints.
import { expect } from 'vitest';
import { type Failpoint, failpoints } from '../../../app/config.ts';
import type { ServiceName } from '../../../contracts/services.ts';
import type { ServiceProcess } from './service-process.ts';
import type { System } from './system.ts';

/** The failpoints that every service passes. */
export const messagingFailpoints = failpoints.filter((name) => /^(outbox|inbox)\./.test(name));

/** Crashes these services, then the order service: the last, because the others need its events. */
export async function crashEach({ process }: System, others: readonly ServiceName[], failpoint: Failpoint) {
  await Promise.all(others.map((name) => crash(process(name), failpoint)));
  await crash(process('order'), failpoint);
}

/** Restarts the service with the failpoint, waits until it dies there, and restarts it without. */
async function crash(service: ServiceProcess, failpoint: Failpoint): Promise<void> {
  await service.kill();
  await service.launch({ FAILPOINT: failpoint });
  expect(await service.ended(30_000)).toEqual({ code: null, signal: 'SIGKILL' });
  await service.start();
}
