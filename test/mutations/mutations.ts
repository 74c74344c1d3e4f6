// All mutations. To add one: its text must occur exactly once, and a test must detect it.
import { flashSaleMutations } from './flash-sale.ts';
import { messagingMutations } from './messaging.ts';
import type { Mutation } from './mutation.ts';
import { orderMutations } from './order.ts';

export const mutations: readonly Mutation[] = [...messagingMutations, ...orderMutations, ...flashSaleMutations];
