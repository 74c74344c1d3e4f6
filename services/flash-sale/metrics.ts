// What GET /metrics shows of flash sales, besides what it shows of every service.
import { Counter, type Registry } from 'prom-client';

export type DecisionCounter = ReturnType<typeof createDecisionCounter>;

export const createDecisionCounter = (registry: Registry) =>
  new Counter({
    name: 'sluice_flash_sale_decisions_total',
    help: "Answers to flash-sale purchases, by outcome; by the sale's row, or by a hint in this process.",
    labelNames: ['outcome', 'by'] as const,
    registers: [registry],
  });
