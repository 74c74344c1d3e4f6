// The operator behind a request, for the record of what operators change.
import type { Request } from 'express';
import type { Actor } from '../operators/operator-actions.ts';

/** Without access control, every operator is `local`. The address is that of the connection. */
export const actorOf = ({ socket }: Request): Actor => ({ who: 'local', from: socket.remoteAddress ?? 'unknown' });
