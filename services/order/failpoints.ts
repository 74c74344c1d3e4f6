import { failpointOf } from '../../infra/runtime/failpoint.ts';

export const orderFailpoints = [
  'payment.before-charge', // the order is being paid, the provider was not asked
  'payment.after-charge', // charged, and nobody wrote it down
] as const;

export const failpoint = failpointOf(orderFailpoints);
