// Who may have a ticket: a Bloom filter with one hash. It says "no" only for users that were never added, so a flood of
// newcomers can be rejected without asking the database, while nobody who holds a ticket is told that there is none.
// A wrong "maybe" costs a question to the database.

/** 1 MiB: with a million tickets one newcomer in nine is asked about. */
const MAX_BITS = 2 ** 23;
const BITS_PER_USER = 16;

export class UserFilter {
  readonly #bits: Uint32Array;
  readonly #shift: number;

  /** `users`: how many will be added at the most, as far as that is known. */
  constructor(users: number) {
    const power = Math.ceil(Math.log2(Math.min(MAX_BITS, Math.max(32, users * BITS_PER_USER))));
    this.#bits = new Uint32Array(2 ** power / 32);
    this.#shift = 32 - power;
  }

  add(userId: string): void {
    const bit = hash(userId) >>> this.#shift;
    this.#bits[bit >>> 5] = (this.#bits[bit >>> 5] ?? 0) | (1 << (bit & 31));
  }

  mayHave(userId: string): boolean {
    const bit = hash(userId) >>> this.#shift;
    return ((this.#bits[bit >>> 5] ?? 0) & (1 << (bit & 31))) !== 0;
  }
}

/** FNV-1a (32 bits), and murmur3's finalizer, as the filter takes the upper bits. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
