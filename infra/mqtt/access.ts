// What clients from outside may do on the embedded broker: read some topics, and publish nothing.
import type { Caller } from '../access/caller.ts';
import { isOperator } from '../access/caller.ts';
import { RateLimited } from '../access/rate-limit.ts';
import { KeysUnavailable, TokenRejected, type TokenVerifier } from '../access/tokens.ts';
import { userLevel } from './topics.ts';

/** The return codes of CONNACK in MQTT 3.1.1. */
export const connackCodes = { unavailable: 3, badCredentials: 4, notAuthorized: 5 } as const;

export class ConnectRejected extends Error {
  readonly returnCode: number;
  constructor(returnCode: number, reason: string) {
    super(reason);
    this.returnCode = returnCode;
  }
}

export interface ConnectCredentials {
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  /** Of the client. */
  readonly address: string;
}

/**
 * The caller whose user name is the user as in its topics, and whose password is its token. Rejects with
 * ConnectRejected.
 */
export async function callerOfConnect(
  verifier: TokenVerifier,
  { username, password, address }: ConnectCredentials,
): Promise<Caller> {
  if (username === undefined || password === undefined)
    throw new ConnectRejected(connackCodes.badCredentials, 'the password must be a token');
  try {
    const caller = await verifier.verify(Buffer.from(password).toString('latin1'), address);
    if (caller.user !== undefined && userLevel(caller.user) === username) return caller;
    throw new ConnectRejected(
      connackCodes.badCredentials,
      'the user name must be the percent-encoded user of the token',
    );
  } catch (error) {
    if (error instanceof TokenRejected) throw new ConnectRejected(connackCodes.badCredentials, error.message);
    // No code of MQTT 3.1.1 says so more exactly. Clients try again later after this one.
    if (error instanceof RateLimited) throw new ConnectRejected(connackCodes.unavailable, error.message);
    if (error instanceof KeysUnavailable) throw new ConnectRejected(connackCodes.unavailable, error.message);
    throw error;
  }
}

/**
 * Whether a filter is allowed. An operator reads everything of this system; a buyer its own topics; without access
 * control (no caller), everyone reads logs, presence and the live view, and the topic of one user at a time.
 */
export function maySubscribe(filter: string, prefix: string, caller: Caller | undefined): boolean {
  if (!filter.startsWith(`${prefix}/`)) return false;
  if (caller && isOperator(caller)) return true;
  if (caller) return caller.user !== undefined && filter.startsWith(`${prefix}/users/${userLevel(caller.user)}/`);
  const [first, second] = filter.slice(prefix.length + 1).split('/');
  if (first === 'users') return second !== undefined && second !== '' && !/[+#]/.test(second);
  return first === 'logs' || first === 'services' || first === 'live';
}
