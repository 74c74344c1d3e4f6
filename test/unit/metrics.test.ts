import { expect, test } from 'vitest';
import { Metrics } from '../../infra/observability/metrics.ts';

/** The samples in the text of GET /metrics. */
const samplesIn = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

test.each([0, 1])('reports the process, and the services of this thread and of %i others', async (others) => {
  const metrics = Array.from({ length: 1 + others }, (_, index) => new Metrics({ process: index === 0 }));
  for (const each of metrics) {
    each.resent.inc({ type: 'order.placed' });
    each.handling.observe({ service: 'points' }, 0.01);
    each.backlog.set({ service: 'points' }, 2);
    each.backlog.remove({ service: 'points' });
  }
  const [main, ...rest] = metrics as [Metrics, ...Metrics[]];
  const text = await main.text(await Promise.all(rest.map(({ registry }) => registry.getMetricsAsJSON())));

  const startedAt = Number(/^process_start_time_seconds (\d+)$/m.exec(text)?.[1]);
  expect(Math.abs(Date.now() / 1_000 - process.uptime() - startedAt)).toBeLessThan(2);
  expect(text.match(/^process_cpu_seconds_total /gm)).toHaveLength(1);
  const samples = samplesIn(text);
  const total = metrics.length;
  expect(samples).toContain(`sluice_resent_total{type="order.placed"} ${total}`);
  expect(samples).toContain(`sluice_message_handling_seconds_bucket{le="0.02",service="points"} ${total}`);
  expect(samples.filter((sample) => sample.startsWith('sluice_consumer_backlog'))).toEqual([]);
});
