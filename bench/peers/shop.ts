// The work of both peers on an order, apart from messages: one statement for each step, on the tables of schema.sql.
import { randomUUID } from 'node:crypto';
import pg from 'pg';

export interface Order {
  readonly id: string;
  readonly userId: string;
  readonly total: number;
}

/** A total that earns a coupon. */
const COUPON_FROM = 10_000;

export type Step = 'points' | 'coupon' | 'notification';
export const steps: readonly Step[] = ['points', 'coupon', 'notification'];

export class Shop {
  readonly #pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

  async place({ userId, items }: { userId: string; items: { quantity: number; unitPrice: number }[] }): Promise<Order> {
    const total = items.reduce((sum, { quantity, unitPrice }) => sum + quantity * unitPrice, 0);
    const order = { id: randomUUID(), userId, total };
    const values = [order.id, userId, total, JSON.stringify(items)];
    await this.#pool.query('INSERT INTO orders (id, user_id, total, items) VALUES ($1, $2, $3, $4)', values);
    return order;
  }

  /** The effect that the step's own service stores. */
  async handle(step: Step, { id, userId, total }: Order): Promise<void> {
    const entry = [randomUUID(), id, userId];
    if (step === 'points')
      await this.#pool.query('INSERT INTO points VALUES ($1, $2, $3, $4)', [...entry, Math.floor(total / 100)]);
    else if (step === 'coupon')
      await this.#pool.query('INSERT INTO coupons VALUES ($1, $2, $3, $4)', [
        ...entry,
        total >= COUPON_FROM ? Math.floor(total / 20) : null,
      ]);
    else
      await this.#pool.query('INSERT INTO notifications VALUES ($1, $2, $3, $4)', [...entry, `Order ${id} is placed.`]);
  }

  /** The order service learns that a step is done. */
  async markDone(step: Step, orderId: string): Promise<void> {
    await this.#pool.query(`UPDATE orders SET ${step} = true WHERE id = $1`, [orderId]);
  }
}
