import { failpointOf } from '../../infra/runtime/failpoint.ts';

export const flashSaleFailpoints = [
  'admission.before-commit', // a batch of requests is complete, nothing is decided
  'admission.after-commit', // tickets are committed, no buyer has the response
  'ticket.before-accept', // the ticket's job runs, nothing is changed
] as const;

export const failpoint = failpointOf(flashSaleFailpoints);
