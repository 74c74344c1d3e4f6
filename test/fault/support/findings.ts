// The violations that a checker has found.

export class Findings {
  readonly #lost = new Set<string>();
  #duplicated = 0;
  readonly #subjects = new Map<string, string[]>();

  broken(what: string, subject: string): void {
    const subjects = this.#subjects.get(what);
    if (subjects) subjects.push(subject);
    else this.#subjects.set(what, [subject]);
  }

  lost(what: string, subject: string): void {
    this.#lost.add(subject);
    this.broken(what, subject);
  }

  duplicated(what: string, subject: string): void {
    this.#duplicated++;
    this.broken(what, subject);
  }

  /** One sentence for each kind of violation, with its number and the first subjects. */
  verdict(): { readonly lost: number; readonly duplicated: number; readonly violations: readonly string[] } {
    const violations = [...this.#subjects].map(
      ([what, subjects]) => `${what}: ${subjects.length} (${subjects.slice(0, 3).join(', ')})`,
    );
    return { lost: this.#lost.size, duplicated: this.#duplicated, violations };
  }
}
