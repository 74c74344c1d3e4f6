// The operator behind a request, for the record of what operators change.
import type { Request } from 'express';
import type { Actor } from '../operators/operator-actions.ts';
import { callerOf } from './authentication.ts';

/** An IPv4 address as a socket for IPv6 shows it. */
const MAPPED = '::ffff:';

/** The address is that of the connection. */
export function actorOf(request: Request): Actor {
  const { remoteAddress = 'unknown' } = request.socket;
  const from = remoteAddress.startsWith(MAPPED) ? remoteAddress.slice(MAPPED.length) : remoteAddress;
  return { who: callerOf(request).who, from };
}
