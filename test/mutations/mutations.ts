// Every mistake there is. A new one: its text must be found exactly once, and a test must notice.
import { flashSaleMutations } from './flash-sale.ts';
import { messagingMutations } from './messaging.ts';
import type { Mutation } from './mutation.ts';
import { orderMutations } from './order.ts';

export const mutations: readonly Mutation[] = [...messagingMutations, ...orderMutations, ...flashSaleMutations];
