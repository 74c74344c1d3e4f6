// A service whose HTTP side and the work behind it are two processes, as one ServiceProcess: a fault that hits the
// service hits both. (roles.test.ts kills one of them.)
import type { ServiceProcess } from './service-process.ts';

/** Its URL is that of `web`. */
export function rolesApart(web: ServiceProcess, worker: ServiceProcess): ServiceProcess {
  const both = [web, worker] as const;
  /** After one has ended at a failpoint, the other one still runs. */
  const endOther = async () => {
    const running = both.filter(({ pids }) => pids.length > 0);
    if (running.length === 1) await running[0]?.kill();
  };
  const onBoth = async <T>(act: (each: ServiceProcess) => Promise<T>): Promise<T> =>
    (await Promise.all(both.map(act)))[0] as T;
  return {
    url: web.url,
    workerUrl: worker.url,
    get pids() {
      return both.flatMap(({ pids }) => pids);
    },
    async launch(extra) {
      await endOther();
      await onBoth((each) => each.launch(extra));
    },
    async start(extra) {
      await endOther();
      await onBoth((each) => each.start(extra));
    },
    ended: (withinMs) => Promise.any(both.map((each) => each.ended(withinMs))),
    kill: () => onBoth((each) => each.kill()),
    async stop() {
      const exits = await Promise.all(both.map((each) => each.stop()));
      return exits.find(({ code }) => code !== 0) ?? (exits[0] as (typeof exits)[0]);
    },
    freeze(frozen) {
      for (const each of both) each.freeze(frozen);
    },
    output: async () => (await Promise.all(both.map((each) => each.output()))).join(''),
    async remove() {
      await onBoth((each) => each.remove());
    },
  };
}
