// A child process for the services named as arguments (none: all), started by a demonstration: reports its URL, stops
// and starts one of its services on request, and ends cleanly on SIGTERM, or when its parent is gone.
import { startSluice } from '../../app/start.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { messageOf } from './errors.ts';
import type { ServiceReply, ServiceRequest } from './sluice-processes.ts';

const reply = (message: ServiceReply) => {
  if (process.connected) process.send?.(message);
};
const failed = (error: unknown) => reply({ failed: messageOf(error) });

const named = serviceNames.filter((name) => process.argv.slice(2).includes(name));
const services: readonly ServiceName[] = named.length > 0 ? named : serviceNames;
try {
  const running = await startSluice({ env: process.env, services });
  let ending = false;
  const end = () => {
    if (ending) return;
    ending = true;
    running.stop().then(
      () => {
        if (process.connected) process.disconnect();
      },
      // A service that does not stop in time would keep the process alive; unfinished work is in the database.
      () => process.exit(1),
    );
  };
  process.on('SIGTERM', end);
  process.on('disconnect', end);
  process.on('message', ({ action, service }: ServiceRequest) => {
    const changed = action === 'stop' ? running.stopService(service) : running.startService(service);
    changed.then(() => reply({ done: true }), failed);
  });
  reply({ readyAt: running.url });
} catch (error) {
  failed(error);
  process.exitCode = 1;
  if (process.connected) process.disconnect();
}
