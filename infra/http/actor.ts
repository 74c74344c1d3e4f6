// The operator behind a request, for the record of what operators change.
import type { Request } from 'express';
import type { Actor } from '../operators/operator-actions.ts';
import { callerOf } from './authentication.ts';
import { clientAddress } from './reverse-proxy.ts';

export const actorOf = (request: Request): Actor => ({ who: callerOf(request).who, from: clientAddress(request) });
