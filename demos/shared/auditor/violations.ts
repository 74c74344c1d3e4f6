// What an audit found: for each rule the number of violations and the first ids. Memory is bounded, however many there are.
import { type RuleName, rules } from './rules.ts';

/** Ids that are kept of each rule. */
export const MAX_NAMED = 100;

export class Violations {
  /** `ids`: the first orders, tickets, or sales with what is wrong there. */
  readonly #found = new Map<RuleName, { total: number; ids: string[] }>();

  /** `times` is above 1 if one entry stands for several violations. */
  add(rule: RuleName, id: string, times = 1): void {
    const found = this.#found.get(rule) ?? { total: 0, ids: [] };
    found.total += times;
    if (found.ids.length < MAX_NAMED) found.ids.push(id);
    this.#found.set(rule, found);
  }

  /** In the order of the rules. */
  list() {
    return (Object.keys(rules) as RuleName[]).flatMap((rule) => {
      const found = this.#found.get(rule);
      return found ? [{ rule, ...found }] : [];
    });
  }
}

/** Rules that each id seems to violate. */
export type Wrong = ReadonlyMap<string, readonly RuleName[]>;

/** Ids to look at again, with the rules that they seem to violate; at most `room` of them. */
export class Candidates {
  readonly ids = new Map<string, readonly RuleName[]>();
  readonly #room: number;

  constructor(room: number) {
    this.#room = room;
  }

  /** Returns false if there was no room. */
  add(id: string, wrong: readonly RuleName[]): boolean {
    if (this.ids.size >= this.#room) return false;
    this.ids.set(id, wrong);
    return true;
  }
}

/** The ids with a violation that a resend may repair. */
export const repairableIds = (wrong: Wrong): string[] =>
  [...wrong].flatMap(([id, violated]) => (violated.some((rule) => rules[rule].repairable) ? [id] : []));
