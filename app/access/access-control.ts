// Access control as the settings say: who may make requests to this process, and how it makes its own.
import { noAuthentication } from '../../infra/http/authentication.ts';
import type { LimitContext } from './limits.ts';
import type { AccessControl, AccessControlSettings } from './token-access.ts';

/** Rejects with a StartupError if the local key cannot be used. */
export async function openAccessControl(
  settings: AccessControlSettings,
  context: LimitContext,
): Promise<AccessControl> {
  if (settings.AUTH_MODE !== 'jwt')
    return { authentication: noAuthentication, verifier: undefined, authorization: async () => undefined };
  // Imported here, because without tokens the start takes less time without their libraries.
  const { openTokenAccess } = await import('./token-access.ts');
  return openTokenAccess(settings, context);
}
