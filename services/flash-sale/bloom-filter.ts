// A Bloom filter with one hash function: a set of users that may report a user who was never added, but never misses
// one who was. A false positive costs one request to the database.

/** A number of bits that is a power of two. */
export type BloomFilter = Uint32Array;

/** 1 MiB; with a million users, one in nine others is a false positive. */
const MAX_BITS = 2 ** 23;
const BITS_PER_USER = 16;

/** An empty filter for about `users` users. */
export function createBloomFilter(users: number): BloomFilter {
  const bits = Math.min(MAX_BITS, Math.max(32, users * BITS_PER_USER));
  return new Uint32Array(2 ** Math.ceil(Math.log2(bits)) / 32);
}

export function addUser(filter: BloomFilter, userId: string): void {
  const bit = bitOf(filter, userId);
  filter[bit >>> 5] = (filter[bit >>> 5] ?? 0) | (1 << (bit & 31));
}

/** False only for a user who was never added. */
export function mayContain(filter: BloomFilter, userId: string): boolean {
  const bit = bitOf(filter, userId);
  return ((filter[bit >>> 5] ?? 0) & (1 << (bit & 31))) !== 0;
}

/** The upper bits of the hash. */
const bitOf = (filter: BloomFilter, userId: string) => hash(userId) >>> Math.clz32(filter.length * 32 - 1);

/** FNV-1a (32 bits) with the finalizer of MurmurHash3, which mixes the upper bits as well. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
