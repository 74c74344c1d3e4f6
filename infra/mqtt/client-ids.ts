// The client ids of connections without a lasting session. They begin with BUS_PREFIX, as the ids of the bus sessions do
// (bus/topology.ts): systems with different prefixes never take over one another's connections, and a broker can limit a
// user to the ids of one system.
import { randomInt } from 'node:crypto';

type Purpose = 'publisher' | 'presence' | 'logs' | 'check' | 'tidy';

/** Six characters, the first one a digit, so that it is no name of a group. */
const randomPart = () =>
  randomInt(10 * 36 ** 5)
    .toString(36)
    .padStart(6, '0');

/** With the default prefix it has at most 23 characters, the length that every broker accepts. */
export const clientIdOf = (prefix: string, purpose: Purpose): string => `${prefix}-${purpose}-${randomPart()}`;

/** Whether it is the id of a command that connects from outside, and so no id of a bus session. */
export const isCommandId = (id: string, prefix: string): boolean =>
  id.startsWith(`${prefix}-`) && /^(logs|check)-\d[a-z0-9]{5}$/.test(id.slice(prefix.length + 1));
