// What clients from outside may do on a broker: read some topics, and publish nothing. The embedded broker applies these
// rules itself; RabbitMQ asks for them (rabbitmq-access.ts).
import { isOperator } from '../access/caller.ts';
import { KeysUnavailable, RateLimited, TokenRejected } from '../access/rejections.ts';
import type { TokenVerifier } from '../access/tokens.ts';
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
  readonly password: string | undefined;
  /** Of the client; undefined: unknown, and no limit applies. */
  readonly address: string | undefined;
}

/** A client whose token was valid when it connected. */
export interface Reader {
  /** Its user, as in topics. */
  readonly username: string;
  readonly isOperator: boolean;
}

/** A reader that connects: its token expires at this time, in seconds since 1970. */
export type ConnectingReader = Reader & { readonly expiresAt: number };

/**
 * The client whose user name is its user as in topics, and whose password is the user's token. Rejects with
 * ConnectRejected.
 */
export async function readerOfConnect(
  verifier: TokenVerifier,
  { username, password, address }: ConnectCredentials,
): Promise<ConnectingReader> {
  if (username === undefined || password === undefined)
    throw new ConnectRejected(connackCodes.badCredentials, 'the password must be a token');
  try {
    const caller = await verifier.verify(password, address);
    if (caller.user !== undefined && userLevel(caller.user) === username)
      return { username, isOperator: isOperator(caller), expiresAt: caller.expiresAt ?? 0 };
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
 * control (no reader), everyone reads logs, presence and the live view, and the topic of one user at a time.
 */
export function maySubscribe(filter: string, prefix: string, reader: Reader | undefined): boolean {
  if (!filter.startsWith(`${prefix}/`)) return false;
  if (reader) return reader.isOperator || filter.startsWith(`${prefix}/users/${reader.username}/`);
  const [first, second] = filter.slice(prefix.length + 1).split('/');
  if (first === 'users') return second !== undefined && second !== '' && !/[+#]/.test(second);
  return first === 'logs' || first === 'services' || first === 'live';
}
