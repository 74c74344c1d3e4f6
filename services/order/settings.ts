import { parseHttpUrlWithoutUser } from '../../infra/http/url.ts';
import { resendSettings } from '../../infra/messaging/resend.ts';
import { integer, optional, type SettingsOf, url, variable } from '../../infra/runtime/settings.ts';

export const orderSettings = {
  ...resendSettings,
  PAYMENT_URL: optional(
    url(parseHttpUrlWithoutUser, 'a URL such as http://host:3010, without a user or password'),
    'Payment provider. Unset: simulated, with its ledger in DATA_DIR. Required for a process that runs the order service, unless the process runs all services in both roles.',
  ),
  PAYMENT_TIMEOUT_MS: variable(
    integer(50, 300_000),
    '5000',
    'Timeout of a call to the payment provider. After a timeout the outcome is unknown, and the call is repeated.',
  ),
};
export type OrderSettings = SettingsOf<typeof orderSettings>;
