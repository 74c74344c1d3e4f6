// Whether orders are completed as fast with many stored ones. Only on PostgreSQL, where the rows are copied by SQL.
import { note } from '../../demos/shared/terminal.ts';
import type { Benchmark } from '../benchmark.ts';
import { figure, inPhase, type Measured, type Target } from '../figures.ts';
import type { Durations } from '../flood.ts';
import { type Load, ordersTo } from '../load.ts';
import { readCompleted, untilCompleted } from '../metrics.ts';
import { type Query, readTotals } from '../stored-totals.ts';
import { queryPostgres, type System } from '../system.ts';
import { measureSustained } from './measure.ts';

export interface StoredParameters {
  /** Stored orders, before each measurement; multiples of MODELS. */
  readonly few: number;
  readonly many: number;
  readonly sustained: Durations;
  /** Completed orders per second with many, as a share of those with few. */
  readonly ratio: Target;
}

/** Completed orders whose rows are copied. */
export const MODELS = 1_000;

export const storedBenchmark = (parameters: StoredParameters): Benchmark => ({
  redis: false,
  measure: (load, system) => measure(load, system, parameters),
});

async function measure(load: Load, system: System, parameters: StoredParameters): Promise<Measured> {
  const { few, many, sustained, ratio } = parameters;
  const { databaseUrl = '' } = system;
  await load.open(ordersTo(system.url));
  const { completed } = await readCompleted(system);
  await load.send(MODELS);
  await untilCompleted(system, completed + MODELS);
  const models = await queryPostgres(databaseUrl, (query) => query('SELECT id FROM sluice_order.orders'));
  const seeder = new Seeder(
    databaseUrl,
    models.map(({ id }) => String(id)),
  );

  await seeder.seedUpTo(few);
  const withFew = await measureSustained(load, system, sustained);
  await seeder.seedUpTo(many);
  const withMany = await measureSustained(load, system, sustained);

  const accepted = many + withFew.accepted + withMany.accepted;
  const { stored, settings } = await system.stopServices((query) => readTotals(query, accepted));
  return {
    figures: () => [
      ...inPhase(`${few} stored`, [figure('completed', '/s', withFew.completedPerSecond)]),
      ...inPhase(`${many} stored`, [
        figure('completed', '/s', withMany.completedPerSecond),
        figure(`÷ with ${few}`, 'ratio', withMany.completedPerSecond / withFew.completedPerSecond, ratio),
      ]),
    ],
    checks: [],
    settings,
    cpu: withMany.cpu,
    generatorCpu: [withFew.generatorCpu, withMany.generatorCpu],
    curves: [
      { title: `Completed orders per second, ${few} stored`, values: withFew.completedEachSecond },
      { title: `Completed orders per second, ${many} stored`, values: withMany.completedEachSecond },
    ],
    raw: { withFew, withMany, stored, settings },
  };
}

/**
 * Every table with rows of orders, and its columns that are not computed. A new table of a service is copied, too; the
 * inbox and the outbox are not, because they keep rows of finished orders only for a while.
 */
const COLUMNS = `SELECT c.table_schema AS schema, c.table_name AS table, c.column_name AS column, c.data_type AS type
  FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
  WHERE t.table_type = 'BASE TABLE' AND c.is_generated = 'NEVER'
    AND c.table_schema IN ('sluice_order', 'sluice_points', 'sluice_coupon', 'sluice_notify')
    AND (c.table_name = 'orders' OR EXISTS (SELECT 1 FROM information_schema.columns o
      WHERE o.table_schema = c.table_schema AND o.table_name = c.table_name AND o.column_name = 'order_id'))
  ORDER BY 1, 2, c.ordinal_position`;

/** Copies the rows of the model orders in all services, as if the same users had ordered again and again. */
class Seeder {
  readonly #url: string;
  readonly #models: readonly string[];
  /** Including the models. */
  #stored: number;

  constructor(databaseUrl: string, models: readonly string[]) {
    this.#url = databaseUrl;
    this.#models = models;
    this.#stored = models.length;
  }

  async seedUpTo(orders: number): Promise<void> {
    note(`  ${orders} orders are stored …`);
    const from = this.#stored / this.#models.length;
    const to = orders / this.#models.length - 1;
    this.#stored = orders;
    if (to < from) return;
    await queryPostgres(this.#url, async (query) => {
      for (const [table, columns] of await tablesOf(query)) await this.#copy(query, table, columns, [from, to]);
      // As after a long time, in which autovacuum has done its work.
      await query('VACUUM ANALYZE');
      await query('CHECKPOINT');
    });
  }

  async #copy(query: Query, table: string, columns: readonly Column[], copies: [from: number, to: number]) {
    const names = columns.map(({ name }) => `"${name}"`);
    const values = columns.map(({ name, type }) => (type === 'uuid' ? copiedId(`m."${name}"`) : `m."${name}"`));
    const key = columns.some(({ name }) => name === 'order_id') ? 'order_id' : 'id';
    await query(
      `INSERT INTO ${table} (${names.join(', ')})
        SELECT ${values.join(', ')} FROM generate_series($2::int, $3::int) AS copy
        CROSS JOIN (SELECT * FROM ${table} WHERE ${key} = ANY($1::uuid[])) AS m`,
      [this.#models, ...copies],
    );
  }
}

/**
 * Another id for each copy, the same one in every table. It begins with the model's time, so the copies are older than
 * new orders, which therefore go to the end of each index, as they do in a shop.
 */
const copiedId = (id: string): string =>
  `(left(${id}::text, 15) || substr(md5(${id}::text || copy)::uuid::text, 16))::uuid`;

interface Column {
  readonly name: string;
  readonly type: string;
}

async function tablesOf(query: Query): Promise<Map<string, Column[]>> {
  const tables = new Map<string, Column[]>();
  for (const { schema, table, column, type } of await query(COLUMNS)) {
    const name = `"${schema}"."${table}"`;
    tables.set(name, [...(tables.get(name) ?? []), { name: String(column), type: String(type) }]);
  }
  return tables;
}
