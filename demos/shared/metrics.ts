// Reads a process's metrics in Prometheus' text format.
import { recordOf } from './record-of.ts';

/** The values of a metric with labels. */
export function samplesOf(text: string, metric: string) {
  const lines = text.matchAll(new RegExp(`^${metric}\\{([^}]*)\\} (\\S+)$`, 'gm'));
  return Array.from(lines, ([, labels = '', value]) => ({
    labels: Object.fromEntries(
      Array.from(labels.matchAll(/(\w+)="([^"]*)"/g), ([, name = '', label = '']) => [name, label]),
    ),
    value: Number(value),
  }));
}

export const totalOf = (samples: readonly { readonly value: number }[]): number =>
  samples.reduce((sum, { value }) => sum + value, 0);

/** The results that end each step, by the service that runs it. */
const stepResults = {
  points: ['points.awarded'],
  coupon: ['coupon.issued', 'coupon.skipped'],
  notify: ['notification.sent'],
} as const satisfies Record<string, readonly string[]>;
export type StepService = keyof typeof stepResults;
/** The services that do an order's steps. Orders are accepted while one of them is away. */
export const steps = Object.keys(stepResults) as StepService[];
export type PerService = Readonly<Record<StepService, number>>;

/** For how many orders the order service has recorded each step, by its metrics. */
export function recordedSteps(text: string): PerService {
  const done = samplesOf(text, 'sluice_messages_handled_total').filter(
    ({ labels }) => labels.service === 'order' && labels.outcome === 'done',
  );
  return recordOf(steps, (service) =>
    totalOf(done.filter(({ labels }) => stepResults[service].some((type) => type === labels.type))),
  );
}
