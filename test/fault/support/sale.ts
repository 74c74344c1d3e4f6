// Starts a system with several gateways and a flash sale on it.
import type { Environment } from '../../../demos/shared/child-process.ts';
import { createSale } from '../../service/support/flash-sales.ts';
import { Buyers, type BuyersOptions } from './buyers.ts';
import { keepJournal } from './sale-journal.ts';
import type { Schedule } from './schedule.ts';
import type { ServiceProcess } from './service-process.ts';
import { query } from './sql.ts';
import { type Roles, type System, startSystem } from './system.ts';

/** The shop behind the gateways, in one process. */
export const shop = ['order', 'points', 'coupon', 'notify'] as const;

export interface SaleTerms {
  readonly stock: number;
  readonly queueCap: number;
  readonly drainPerSecond: number;
  readonly opensAt?: string;
  readonly holdSeconds?: number;
}

export interface SaleSystemOptions {
  readonly postgresUrl: string | undefined;
  readonly mqttUrl: string | undefined;
  /** Unset: the database carries the events. */
  readonly amqpUrl?: string | undefined;
  /** Unset: the database paces the queue. */
  readonly redisUrl?: string | undefined;
  /** Processes of the flash-sale service. */
  readonly gateways: number;
  readonly env?: Environment;
  readonly roles?: Roles;
}

export interface SaleSystem extends System {
  readonly gateways: readonly ServiceProcess[];
}

/** Resolves when all processes run; they end with the test. */
export async function startSaleSystem(options: SaleSystemOptions): Promise<SaleSystem> {
  const { postgresUrl, mqttUrl, amqpUrl, redisUrl, gateways, env = {}, roles = 'apart' } = options;
  const system = await startSystem({
    postgresUrl,
    mqttUrl,
    amqpUrl,
    roles,
    processes: [shop, ...Array.from({ length: gateways }, () => ['flash-sale'] as const)],
    env: {
      ...(amqpUrl ? {} : { EVENT_BUS: 'local' }),
      ...(redisUrl ? { REDIS_URL: redisUrl } : {}),
      ...env,
    },
  });
  return { ...system, gateways: system.processes.slice(1) };
}

/** Creates a sale with a journal of its queue, and buyers for it. */
export async function openSale(
  { databaseUrl, gateways }: Pick<SaleSystem, 'databaseUrl' | 'gateways'>,
  schedule: Schedule,
  terms: SaleTerms,
  options: Pick<BuyersOptions, 'twice' | 'tolerated'> = {},
): Promise<{ readonly saleId: string; readonly buyers: Buyers }> {
  await keepJournal(databaseUrl);
  const urls = gateways.map(({ url }) => url);
  const { id: saleId } = await createSale(String(urls[0]), terms);
  return { saleId, buyers: new Buyers({ urls, saleId, schedule, ...options }) };
}

/** Tickets per second that left the queue in the busiest interval of `seconds`. */
export async function fastestPace(databaseUrl: string, seconds: number): Promise<number> {
  const [row] = await query<{ most: number }>(
    databaseUrl,
    `SELECT COALESCE(max(n), 0)::float8 AS most FROM (
       SELECT count(*) OVER (PARTITION BY sale_id ORDER BY accepted_at
         RANGE BETWEEN CURRENT ROW AND interval '${seconds} s' FOLLOWING) AS n
       FROM sluice_flash_sale.tickets WHERE accepted_at IS NOT NULL
     ) AS intervals`,
  );
  return (row?.most ?? 0) / seconds;
}
