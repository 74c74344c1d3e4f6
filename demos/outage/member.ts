// A process of its own for the services named as arguments (none: all), started by `sluice outage`: it reports where it
// answers, stops and starts one of its services when it is asked to, and ends cleanly on SIGTERM, or when whoever
// started it is gone.

import { startSluice } from '../../app/start.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import type { PartRequest, Report } from './messages.ts';
import { StoppableServices } from './stoppable.ts';

const report = (what: Report) => {
  if (process.connected) process.send?.(what);
};
const failed = (error: unknown) => report({ failed: error instanceof Error ? error.message : String(error) });

const named = serviceNames.filter((name) => process.argv.slice(2).includes(name));
const services: readonly ServiceName[] = named.length > 0 ? named : serviceNames;
try {
  const running = await startSluice({ env: process.env, services });
  const parts = new StoppableServices(running.runners);
  let ending = false;
  const end = () => {
    if (ending) return;
    ending = true;
    running.stop().then(
      () => {
        if (process.connected) process.disconnect();
      },
      // A part that has not stopped in time would keep the process alive; unfinished work is in the database.
      () => process.exit(1),
    );
  };
  process.on('SIGTERM', end);
  process.on('disconnect', end);
  process.on('message', ({ part, service }: PartRequest) => {
    const changed = part === 'stop' ? parts.stop(service) : parts.start(service);
    changed.then(() => report({ done: true }), failed);
  });
  report({ readyAt: running.url });
} catch (error) {
  failed(error);
  process.exitCode = 1;
  if (process.connected) process.disconnect();
}
