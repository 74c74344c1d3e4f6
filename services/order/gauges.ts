// The order service's gauges: orders and payments that are late.
import type { Queryable } from '../../infra/database/port.ts';
import type { Metrics } from '../../infra/observability/metrics.ts';
import { createGauge, type GaugeSample, sampleOf } from '../../infra/observability/stored-gauges.ts';
import { countOverdue } from './store/overdue.ts';

/** Declares the gauges, and returns the function that reads them. */
export function orderGauges({ registry }: Pick<Metrics, 'registry'>) {
  const overdue = createGauge(registry, {
    name: 'sluice_orders_overdue',
    help: 'Orders whose replies are overdue, so that requests are resent: placed ones lack a result, cancelling ones a reversal; counted up to a million.',
    labels: ['status'],
  });
  const inDoubt = createGauge(registry, {
    name: 'sluice_payments_in_doubt',
    help: 'Payments that the provider was asked for and whose outcome is not known, including those of this moment; counted up to a million.',
  });
  const oldest = createGauge(registry, {
    name: 'sluice_payments_in_doubt_oldest_age_seconds',
    help: 'How long the oldest payment in doubt has been in progress; 0 if there is none.',
  });
  return async (database: Queryable): Promise<GaugeSample[]> => {
    const { placed, cancelling, paying, payingSeconds } = await countOverdue(database);
    return [
      sampleOf(overdue, placed, { status: 'placed' }),
      sampleOf(overdue, cancelling, { status: 'cancelling' }),
      sampleOf(inDoubt, paying),
      sampleOf(oldest, Math.max(0, payingSeconds ?? 0)),
    ];
  };
}
