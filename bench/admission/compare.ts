// Where could the cap of a flash sale be enforced, and what goes wrong there? Each way is offered the same bursts, and
// then the disturbance that it is most likely to meet.
import { note } from '../../demos/shared/terminal.ts';
import { measureBurst, openSale } from './bursts.ts';
import { type Disturbed, disturbances } from './disturbances.ts';
import { Gateways } from './gateways.ts';
import type { Result, Rounds } from './render.ts';
import { startServers } from './servers.ts';
import { titles, wayNames } from './ways.ts';

const GATEWAYS = 4;
const BUYERS = 1_000;
const CAP = 100;
/** More than the cap, so that the cap is the limit, and less, so that the stock is. */
const STOCKS = [1_000, 60];

/** Starts servers of its own and ends them, whatever happens. `rounds`: of the bursts, each on a fresh sale. */
export async function compareAdmission({ rounds }: { rounds: number }): Promise<Result> {
  note('starting RabbitMQ, Redis and PostgreSQL …');
  const servers = await startServers();
  const gateways = new Gateways(GATEWAYS);
  try {
    const bursts: Rounds[] = [];
    for (const way of wayNames) {
      note(`${titles[way]} …`);
      for (const stock of STOCKS) {
        // Code that runs for the first time, here and in the servers, does not count.
        await measureBurst(gateways, await openSale(servers, way, stock, CAP), BUYERS);
        const results = [];
        for (let round = 1; round <= rounds; round++) {
          results.push(await measureBurst(gateways, await openSale(servers, way, stock, CAP), BUYERS));
        }
        bursts.push({ way, stock, cap: CAP, rounds: results });
      }
    }
    const disturbed: Disturbed[] = [];
    for (const disturb of disturbances) {
      note(`disturbance ${disturbed.length + 1} of ${disturbances.length} …`);
      disturbed.push(await disturb({ servers, gateways, buyers: BUYERS, cap: CAP }));
    }
    return { versions: servers.versions, buyers: BUYERS, gateways: GATEWAYS, bursts, disturbed };
  } finally {
    await gateways.close();
    await servers.stop();
  }
}
