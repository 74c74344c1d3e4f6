// The addresses of clients, as they are recorded and counted.
import { isIPv6 } from 'node:net';

/** An IPv4 address as a socket for IPv6 shows it. */
const MAPPED = /^::ffff:(?=\d+\.)/i;

/** The address of a connection, without the form that a socket for IPv6 gives an IPv4 address. */
export const plainAddress = (address = 'unknown'): string => address.replace(MAPPED, '');

/**
 * The network that one client controls: an IPv4 address, or the first 64 bits of an IPv6 address, of which each client
 * has 2^64 (RFC 6177).
 */
export function networkOf(address: string): string {
  const plain = plainAddress(address);
  if (!isIPv6(plain)) return plain;
  // A URL has an address in its canonical form: hexadecimal, lower case, no leading zeros. A zone (%eth0) is no part.
  const canonical = new URL(`http://[${plain.replace(/%.*/, '')}]`).hostname.slice(1, -1);
  const [left = [], right] = canonical.split('::').map((part) => part.split(':').filter(Boolean));
  const zeros = right === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(zeros).fill('0'), ...(right ?? [])];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
