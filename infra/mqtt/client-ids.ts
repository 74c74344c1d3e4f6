// The client ids of connections without a lasting session. They begin with BUS_PREFIX, as the ids of the bus sessions do
// (bus/topology.ts): systems with different prefixes never take over one another's connections, and a broker can limit a
// user to the ids of one system.
import { randomInt } from 'node:crypto';

type Purpose = 'publisher' | 'presence' | 'logs' | 'check' | 'tidy';

const RANDOM_LENGTH = 6;

/** With the default prefix it has at most 23 characters, the length that every broker accepts. */
export function clientIdOf(prefix: string, purpose: Purpose): string {
  const random = randomInt(36 ** RANDOM_LENGTH).toString(36);
  return `${prefix}-${purpose}-${random.padStart(RANDOM_LENGTH, '0')}`;
}

/** Whether it is the id of a command that connects from outside, and so no id of a bus session. */
export const isCommandId = (id: string, prefix: string): boolean =>
  id.startsWith(`${prefix}-`) && /^(logs|check)-[a-z0-9]{6}$/.test(id.slice(prefix.length + 1));
