// Clients that buy in a flash sale, steadily or all at once, and log every response. After no response or a 503, a
// client sends its request to the next gateway, until it gets a decision; some clients use two gateways at the same
// time.
import { setTimeout as delay } from 'node:timers/promises';
import type { ProblemName } from '../../../contracts/problems.ts';
import { type Answer, jsonRequest } from '../../setup/api.ts';
import * as schemas from '../../setup/schemas.ts';
import { eventually } from '../../setup/wait.ts';
import { RotatingClient } from './rotating-client.ts';
import type { Schedule } from './schedule.ts';
import { UnderWay } from './under-way.ts';

/** Buyers without a decision; beyond that, no further ones arrive. */
const MAX_UNDER_WAY = 50;
const RETRY_MS = 100;
/** Shorter than Retry-After, so that there are always buyers for free places. */
const IMPATIENT_MS = { min: 100, max: 400 };

/** The outcome of one request. Unknown: no response, so there may be a ticket or not. */
export interface BuyerAnswer {
  readonly status: number | 'unknown';
  /** Of 202 and 200. */
  readonly ticketId?: string;
  readonly position?: number;
  /** Name and detail of the problem, if the request was rejected. */
  readonly problem?: string;
  readonly detail?: string;
  readonly retryAfter?: string;
}

interface LoggedBuyer {
  readonly userId: string;
  readonly saleId: string;
  readonly answers: readonly BuyerAnswer[];
}

/** By user. */
export type BuyerLog = ReadonlyMap<string, LoggedBuyer>;

export interface BuyersOptions {
  /** The gateways; each request goes to the next one. */
  readonly urls: readonly string[];
  readonly saleId: string;
  readonly schedule: Schedule;
  /** Share of the buyers that use two gateways at the same time. */
  readonly twice?: number;
  /** Prefix of the user ids; needed if several groups buy in one system. */
  readonly name?: string;
  /** Called once for each ticket in a response. */
  readonly onTicket?: (ticketId: string) => void;
  /** See Call. */
  readonly tolerated?: readonly ProblemName[];
}

type Buyer = LoggedBuyer & { answers: BuyerAnswer[] };

export class Buyers {
  readonly log = new Map<string, Buyer>();
  readonly #options: BuyersOptions;
  readonly #client: RotatingClient;
  readonly #underWay = new UnderWay();
  #arriving: Promise<void> | undefined;
  #stopping = false;
  #giveUpAt = Number.POSITIVE_INFINITY;

  constructor(options: BuyersOptions) {
    this.#options = options;
    this.#client = new RotatingClient(options.urls);
  }

  /** All responses, in the order of the buyers. */
  get answers(): BuyerAnswer[] {
    return [...this.log.values()].flatMap(({ answers }) => answers);
  }

  /** Responses by status. */
  get statuses(): ReadonlyMap<BuyerAnswer['status'], number> {
    const counts = new Map<BuyerAnswer['status'], number>();
    for (const { answers } of this.log.values())
      for (const { status } of answers) counts.set(status, (counts.get(status) ?? 0) + 1);
    return counts;
  }

  /** From now on, so many buyers arrive a second; they try again while the queue is full. */
  arrive(perSecond: number): void {
    this.#arriving ??= (async () => {
      while (!this.#stopping) {
        // stop() waits for it, and reports its failure.
        if (this.#underWay.size < MAX_UNDER_WAY) this.#buy(true).catch(() => {});
        await delay(1000 / perSecond);
      }
    })();
  }

  /** So many buyers at once; they leave if the queue is full. Resolves when all have a decision. */
  async burst(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#buy(false)));
  }

  /** One more buyer, with a single request to this gateway. */
  async tryOnce(url: string): Promise<BuyerAnswer> {
    const buyer = this.#newBuyer();
    const answer = await this.#request(buyer.userId, url);
    buyer.answers.push(answer);
    return answer;
  }

  /** Resolves when `count` more buyers have been admitted. */
  async moreAdmitted(count: number): Promise<void> {
    const admitted = () => this.statuses.get(202) ?? 0;
    const goal = admitted() + count;
    await eventually(() => admitted() >= goal, { what: `${count} more buyers are admitted`, timeoutMs: 60_000 });
  }

  /** No further buyers arrive; resolves when all have a decision or gave up after `withinMs`. */
  async stop(withinMs = 30_000): Promise<void> {
    this.#stopping = true;
    this.#giveUpAt = Math.min(this.#giveUpAt, performance.now() + withinMs);
    await this.#arriving;
    try {
      await this.#underWay.settled();
    } finally {
      await this.#client.close();
    }
  }

  #newBuyer(): Buyer {
    const userId = `${this.#options.name ?? 'buyer'}-${this.log.size + 1}`;
    const buyer: Buyer = { userId, saleId: this.#options.saleId, answers: [] };
    this.log.set(userId, buyer);
    return buyer;
  }

  #buy(patient: boolean): Promise<void> {
    const { schedule, twice = 0.1 } = this.#options;
    const buyer = this.#newBuyer();
    const gateways = schedule.random() < twice ? 2 : 1;
    const buying = Promise.all(Array.from({ length: gateways }, () => this.#untilDecided(buyer, patient)));
    this.#underWay.add(buying);
    return buying.then(() => undefined);
  }

  async #untilDecided({ userId, answers }: Buyer, patient: boolean): Promise<void> {
    const { schedule } = this.#options;
    for (;;) {
      const answer = await this.#request(userId);
      const { status, ticketId } = answer;
      if (ticketId !== undefined && !answers.some((other) => other.ticketId === ticketId))
        this.#options.onTicket?.(ticketId);
      answers.push(answer);
      if (status === 429) {
        if (!patient || this.#stopping) return;
        await delay(schedule.between(IMPATIENT_MS.min, IMPATIENT_MS.max));
      } else {
        if ((status !== 'unknown' && status < 500) || performance.now() > this.#giveUpAt) return;
        await delay(RETRY_MS);
      }
    }
  }

  /** `url`: default is the next gateway. */
  async #request(userId: string, url?: string): Promise<BuyerAnswer> {
    const path = `/flash-sales/${this.#options.saleId}/purchases`;
    const { tolerated = [] } = this.#options;
    return buyerAnswerOf(await this.#client.send(path, { ...jsonRequest({ userId }), tolerated }, url));
  }
}

function buyerAnswerOf(answer: Answer | undefined): BuyerAnswer {
  if (!answer) return { status: 'unknown' };
  const { status, headers } = answer;
  if (status < 300) {
    const { ticketId, position } = answer.json(schemas.purchase);
    return { status, ticketId, position };
  }
  const { type, detail } = answer.json(schemas.problem);
  const retryAfter = headers['retry-after'];
  return {
    status,
    problem: type.replace('/problems/', ''),
    ...(detail === undefined ? {} : { detail }),
    ...(typeof retryAfter === 'string' ? { retryAfter } : {}),
  };
}
