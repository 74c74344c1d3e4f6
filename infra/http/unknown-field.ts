// The message about a field that a request must not have, with the name that its author probably meant.

/** Longer names are not compared, because the cost grows with the square of their length. */
const MAX_LENGTH = 40;

/** `known`: the names that are allowed in its place. */
export function unknownField(name: string, known: readonly string[]): string {
  if (known.length === 0) return 'must be left out: this request has no fields';
  const near = nearestName(name, known);
  if (near !== undefined) return `is not a known field; did you mean ${near}?`;
  return `is not a known field; known fields are ${known.join(', ')}`;
}

/** The name in `known` that `name` is probably meant to be: misspelt, abbreviated, or in another case or style. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (name.length > MAX_LENGTH) return undefined;
  const plain = plainOf(name);
  let nearest: { readonly candidate: string; readonly distance: number } | undefined;
  for (const candidate of known) {
    const distance = distanceBetween(plain, plainOf(candidate));
    if (distance !== undefined && distance < (nearest?.distance ?? Number.POSITIVE_INFINITY))
      nearest = { candidate, distance };
  }
  return nearest?.candidate;
}

/** `user_id`, `user-id` and `UserID` are written alike. */
const plainOf = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');

/** Smaller for names that are more alike; undefined for names that have too little in common. */
function distanceBetween(name: string, candidate: string): number | undefined {
  if (name === candidate) return 0;
  const edits = editDistance(name, candidate);
  if (edits <= Math.max(1, Math.floor(Math.min(name.length, candidate.length) / 3))) return edits;
  // Rarer than a misspelling, so further away than any: `price` for `unitPrice`, `qty` for `quantity`.
  const [short, long] = name.length < candidate.length ? [name, candidate] : [candidate, name];
  if (short.length >= 3 && (long.startsWith(short) || long.endsWith(short))) return MAX_LENGTH + edits;
  return isAbbreviation(name, candidate) ? 2 * MAX_LENGTH + edits : undefined;
}

/** Whether the letters of `short` occur in `long` in this order, from the first letter on. */
function isAbbreviation(short: string, long: string): boolean {
  if (short.length < 2 || short[0] !== long[0]) return false;
  let at = 0;
  for (const letter of long) if (letter === short[at]) at++;
  return at === short.length;
}

/**
 * Insertions, deletions, substitutions and exchanges of neighbours that turn `a` into `b` (optimal string alignment).
 */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const isEqual = a[row - 1] === b[column - 1];
      let least = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (isEqual ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1])
        least = Math.min(least, (beforeLast[column - 2] ?? 0) + 1);
      current.push(least);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}
