// Stops and starts services of one process independently of the others. Only the outage needs it.
import type { ServiceRunner } from '../../app/service-runner.ts';
import type { ServiceName } from '../../contracts/services.ts';

export class StoppableServices {
  readonly #runners: readonly ServiceRunner[];
  readonly #stopped = new Set<ServiceName>();

  constructor(runners: readonly ServiceRunner[]) {
    this.#runners = runners;
  }

  /**
   * Disconnects the service from the bus: it neither consumes nor publishes, and messages for it wait. Its routes keep
   * working. Only for services without loops of their own, which run as long as the process.
   */
  async stop(name: ServiceName): Promise<void> {
    const runner = this.#find(name);
    if (!runner || this.#stopped.has(name)) throw new RangeError(`${name} does not run here`);
    if (runner.service.loops?.length) throw new RangeError(`${name} has loops of its own`);
    this.#stopped.add(name);
    await runner.stopIntake();
    await runner.stopRelays();
  }

  async start(name: ServiceName): Promise<void> {
    const runner = this.#find(name);
    if (!runner || !this.#stopped.has(name)) throw new RangeError(`${name} is not stopped here`);
    await runner.start();
    this.#stopped.delete(name);
  }

  #find(name: ServiceName): ServiceRunner | undefined {
    return this.#runners.find((runner) => runner.name === name);
  }
}
