// Who makes a request, and what that caller may do. The rules are those of docs/access.md.

/** Roles that a token may grant. Any valid token, without one of them, is that of a buyer. */
export const callerRoles = ['operator', 'service'] as const;
export type CallerRole = (typeof callerRoles)[number];

/**
 * The callers that a route is for. `public`: everybody; `buyer`: the user that the request is about, and operators;
 * `operator`: people who run the system; `service`: other processes of the system, and operators.
 */
export type Access = 'public' | 'buyer' | 'operator' | 'service';

export interface Caller {
  /** For the record of what operators change. */
  readonly who: string;
  /** The user for whom the caller acts. Undefined without a token. */
  readonly user?: string;
  readonly roles: readonly CallerRole[];
  /** When the token expires, in seconds since 1970. Undefined without a token. */
  readonly expiresAt?: number;
}

/** Everybody, while access control is off. */
export const LOCAL: Caller = { who: 'local', roles: ['operator'] };

/** A caller without a valid token. */
export const ANONYMOUS: Caller = { who: 'anonymous', roles: [] };

export const isOperator = ({ roles }: Caller): boolean => roles.includes('operator');

export function mayUse(caller: Caller, access: Access): boolean {
  if (access === 'public' || isOperator(caller)) return true;
  if (access === 'buyer') return caller.user !== undefined;
  return access === 'service' && caller.roles.includes('service');
}

/** Whether an operator acts for another user. Without access control, nobody acts for anybody. */
export const isActingFor = (caller: Caller, user: string): boolean =>
  caller.user !== undefined && caller.user !== user && isOperator(caller);

/** Whether the caller may read and change what belongs to this user. */
export const mayActFor = (caller: Caller, user: string): boolean => caller.user === user || isOperator(caller);
