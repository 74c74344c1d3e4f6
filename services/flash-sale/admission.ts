// Admission to all sales: a gate for each one that is asked for in this process.
import type { Logger } from 'pino';
import type { Database } from '../../infra/database/port.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { type Decided, Gate, type RejectedPurchase } from './gate.ts';
import { RejectionCounter } from './rejection-counter.ts';

/** How often rejections are written down. */
const COUNT_MS = 250;
/** A gate that nobody asks for is forgotten. */
const IDLE_MS = 60_000;

export interface AdmissionOptions {
  readonly database: Database;
  /** Tickets of that sale were committed. */
  readonly onAdmitted: (saleId: string, count: number) => void;
  readonly log: Logger;
}

export class Admission {
  readonly #options: AdmissionOptions;
  /** Of sales that exist, and for the time of a question of those that do not. */
  readonly #gates = new Map<string, Gate>();
  readonly #rejections: RejectionCounter;
  readonly #loop: Loop;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#rejections = new RejectionCounter(options.database.background, options.log);
    this.#loop = new Loop({
      name: 'count rejections',
      everyMs: COUNT_MS,
      log: options.log,
      turn: async () => {
        this.#rejections.flush();
        this.#forgetIdle();
        return false;
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#rejections.stop();
  }

  /** A rejection that needs nothing but this process's memory; undefined: the row must be asked. */
  reject(saleId: string, userId: string): RejectedPurchase | undefined {
    return this.#gates.get(saleId)?.reject(userId);
  }

  /** The row's decision; undefined where there is no such sale. Rejects as Gate.decide does. */
  async decide(saleId: string, userId: string): Promise<Decided | undefined> {
    const gate = this.#gates.get(saleId) ?? this.#open(saleId);
    let decided: Decided | undefined;
    try {
      decided = await gate.decide(userId);
    } finally {
      // Whatever was asked for may be no sale at all: only those that have been seen are remembered.
      if (!decided && !gate.hasSeen) this.#gates.delete(saleId);
    }
    return decided;
  }

  #open(saleId: string): Gate {
    const { database, onAdmitted, log } = this.#options;
    const gate = new Gate({
      database,
      saleId,
      onAdmitted: (count) => onAdmitted(saleId, count),
      onRejected: (reason) => this.#rejections.add(saleId, reason),
      log,
    });
    this.#gates.set(saleId, gate);
    return gate;
  }

  #forgetIdle(): void {
    for (const [saleId, gate] of this.#gates) if (gate.idleMs > IDLE_MS) this.#gates.delete(saleId);
  }
}
