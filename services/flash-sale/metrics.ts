// The flash-sale service's own metrics.
import { Counter, type Registry } from 'prom-client';

export type DecisionCounter = ReturnType<typeof createDecisionCounter>;

export const createDecisionCounter = (registry: Registry) =>
  new Counter({
    name: 'sluice_flash_sale_decisions_total',
    help: "Decisions about flash-sale purchases, by outcome; by the sale's row, or by a snapshot of it in memory.",
    labelNames: ['outcome', 'by'] as const,
    registers: [registry],
  });
