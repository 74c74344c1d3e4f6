// Stops and starts services of one process independently of the others. Only `sluice outage` needs it.
import type { ServiceName } from '../contracts/services.ts';
import type { ServiceRunner } from './service-runner.ts';

export class StoppableServices {
  readonly #running: Map<ServiceName, ServiceRunner>;
  readonly #stopped = new Map<ServiceName, ServiceRunner>();

  constructor(runners: readonly ServiceRunner[]) {
    this.#running = new Map(runners.map((runner) => [runner.name, runner]));
  }

  /**
   * Disconnects the service from the bus: it neither consumes nor publishes, and messages for it wait. Its routes keep
   * working. Only for services without loops of their own, which run as long as the process.
   */
  async stopService(name: ServiceName): Promise<void> {
    const runner = this.#running.get(name);
    if (!runner) throw new RangeError(`${name} does not run here`);
    if (runner.service.loops?.length) throw new RangeError(`${name} has loops of its own`);
    this.#running.delete(name);
    this.#stopped.set(name, runner);
    await runner.stopReceiving();
    await runner.stopRelays();
  }

  async startService(name: ServiceName): Promise<void> {
    const runner = this.#stopped.get(name);
    if (!runner) throw new RangeError(`${name} is not stopped here`);
    await runner.start();
    this.#stopped.delete(name);
    this.#running.set(name, runner);
  }
}
