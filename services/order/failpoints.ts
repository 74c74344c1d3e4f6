import { failpointOf } from '../../infra/runtime/failpoint.ts';

export const orderFailpoints = [
  'payment.before-charge', // the order is `paying`, the provider is not called yet
  'payment.after-charge', // the provider has charged, the order is still `paying`
] as const;

export const failpoint = failpointOf(orderFailpoints);
