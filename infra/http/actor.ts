// The operator behind a request, for the record of what operators change.
import type { Request } from 'express';
import type { Actor } from '../operators/operator-actions.ts';

/** An IPv4 address as a socket for IPv6 shows it. */
const MAPPED = '::ffff:';

/** Without access control, every operator is `local`. The address is that of the connection. */
export function actorOf({ socket: { remoteAddress = 'unknown' } }: Request): Actor {
  const from = remoteAddress.startsWith(MAPPED) ? remoteAddress.slice(MAPPED.length) : remoteAddress;
  return { who: 'local', from };
}
