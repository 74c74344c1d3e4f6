// The order service's part of the configuration.
import { resendSettings } from '../../infra/messaging/resend.ts';
import { integer, optional, type SettingsOf, url, variable } from '../../infra/runtime/settings.ts';

export const orderSettings = {
  ...resendSettings,
  PAYMENT_URL: optional(
    url('http', 'https')
      .refine((value) => !/\/\/[^/]*@/.test(value))
      .meta({ allowed: 'a URL such as http://host:3010, without a user or password' }),
    'Payment provider. Unset: a simulated one, with its ledger in DATA_DIR. Needed by the order service in a separate process.',
  ),
  PAYMENT_TIMEOUT_MS: variable(
    integer(50, 300_000),
    '5000',
    'How long the payment provider may take to answer; after that it is not known whether it acted.',
  ),
};
export type OrderSettings = SettingsOf<typeof orderSettings>;
