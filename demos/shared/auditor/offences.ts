// What was found: for each rule how many, and the first ids. Bounded, whatever is found.
import { type RuleName, rules } from './rules.ts';

/** Ids that are kept of each rule. */
export const MAX_NAMED = 100;

export interface Offence {
  readonly rule: RuleName;
  readonly total: number;
  /** The first of them: orders, tickets, or sales with what is wrong there. */
  readonly ids: readonly string[];
}

export class Offences {
  readonly #found = new Map<RuleName, { total: number; ids: string[] }>();

  /** `times`: how often, where only one of them has a name. */
  add(rule: RuleName, id: string, times = 1): void {
    const found = this.#found.get(rule) ?? { total: 0, ids: [] };
    found.total += times;
    if (found.ids.length < MAX_NAMED) found.ids.push(id);
    this.#found.set(rule, found);
  }

  get total(): number {
    return [...this.#found.values()].reduce((sum, { total }) => sum + total, 0);
  }

  /** In the order of the rules. */
  list(): Offence[] {
    return (Object.keys(rules) as RuleName[]).flatMap((rule) => {
      const found = this.#found.get(rule);
      return found ? [{ rule, ...found }] : [];
    });
  }
}

/** Ids to be looked at again, with what seems to be wrong: as many as there is room for, the others only counted. */
export class Suspects {
  readonly ids = new Map<string, readonly RuleName[]>();
  readonly #room: number;

  constructor(room: number) {
    this.#room = room;
  }

  /** Whether it was taken. */
  add(id: string, wrong: readonly RuleName[]): boolean {
    if (this.ids.size >= this.#room) return false;
    this.ids.set(id, wrong);
    return true;
  }
}

/** The ids of what asking again may mend. */
export const mendable = (wrong: ReadonlyMap<string, readonly RuleName[]>): string[] =>
  [...wrong].flatMap(([id, broken]) => (broken.some((rule) => rules[rule].mends) ? [id] : []));
