// The gateway processes as the experiment uses them: all get ready, then all are released at once.
import { type Child, forkScript } from '../../demos/shared/child-process.ts';
import type { Answer, Command } from './gateway.ts';
import type { Sale } from './way.ts';
import type { WayName } from './ways.ts';

/** Longer than the slowest burst. */
const ANSWER_WITHIN_MS = 60_000;

export interface Burst {
  /** Buyers who were told that they are in; all others were rejected. */
  readonly admitted: number;
  /** From the gate's opening until the last answer. */
  readonly elapsedMs: number;
}

/** What a burst is sent to: a way, its server, a sale, and another sale for practice. */
export interface Target {
  readonly way: WayName;
  readonly url: string;
  readonly sale: Sale;
  readonly practice: Sale;
}

export class Gateways {
  readonly #children: readonly Child[];

  constructor(count: number) {
    this.#children = Array.from({ length: count }, forkGateway);
  }

  /** `buyers` in all, shared among the processes, all at the same time. Rejects where one of them got no answer. */
  async burst(target: Target, buyers: number): Promise<Burst> {
    const children = this.#children;
    await Promise.all(children.map((child) => tell(child, { type: 'open', ...target })));
    const startedAt = performance.now();
    const share = (index: number) => Math.floor((buyers + index) / children.length); // they add up to `buyers`
    const answers = await Promise.all(
      children.map((child, index) => tell(child, { type: 'burst', buyers: share(index) })),
    );
    return { admitted: admittedIn(target.way, answers), elapsedMs: performance.now() - startedAt };
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.end()));
  }
}

/** A gateway is killed after its buyers were decided on, before their work begins. Answers how many were admitted. */
export async function killedAfterDeciding(target: Target, buyers: number): Promise<number> {
  const child = forkGateway();
  try {
    await tell(child, { type: 'open', ...target });
    return admittedIn(target.way, [await tell(child, { type: 'decide-only', buyers })]);
  } finally {
    await child.end('SIGKILL');
  }
}

function admittedIn(way: WayName, answers: readonly Answer[]): number {
  let admitted = 0;
  for (const answer of answers) {
    if (answer.type !== 'done') throw new Error(`a gateway answered ${answer.type}`);
    if (answer.unknown > 0)
      throw new Error(`${way}: ${answer.unknown} buyers got no answer, one of them: ${answer.error}`);
    admitted += answer.admitted;
  }
  return admitted;
}

/** Rejects where the process ended or says nothing in time. */
const tell = (child: Child, command: Command) => child.ask<Answer>(command, ANSWER_WITHIN_MS);

const forkGateway = () => forkScript('a gateway', new URL('gateway.ts', import.meta.url));
