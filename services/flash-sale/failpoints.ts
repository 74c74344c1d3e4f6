import { failpointOf } from '../../infra/runtime/failpoint.ts';

export const flashSaleFailpoints = [
  'admission.before-commit', // requests gathered, nothing decided
  'admission.after-commit', // tickets committed, nobody told
  'ticket.before-accept', // its job has begun, nothing done
] as const;

export const failpoint = failpointOf(flashSaleFailpoints);
