// An outage as a picture: answers, backlog and completions, below each other on one time axis.
import { count, duration } from '../shared/terminal.ts';
import { type Panel, panelsDocument } from '../shared/time-chart.ts';
import type { Summary } from './summary.ts';

export function svgOf(summary: Summary): string {
  const { settings, seconds, goneMs, readyMs, caughtUpAfterMs, shape } = summary;
  const { service, rate } = settings;
  const back =
    caughtUpAfterMs === null ? 'it did not catch up' : `it caught up ${duration(caughtUpAfterMs)} after its start`;
  const head = {
    title: `${count(rate)} orders per second, ${service} away for ${duration(readyMs - goneMs)}`,
    subtitle: `${shape}; ${back}`,
  };
  const axis = { fromMs: 0, toMs: Math.max(1, seconds.length) * 1_000, stepMs: 1_000 };
  return panelsDocument(head, panelsOf(summary), axis);
}

function panelsOf(summary: Summary): Panel[] {
  const { settings, phases, seconds, goneMs, readyMs, longestBacklog } = summary;
  const { service } = settings;
  const total = (of: 'orders' | 'accepted') => count(phases.reduce((sum, phase) => sum + phase[of], 0));
  /** The number of selected answers in each second. */
  const answersWhere = (shown: (status: string, away: boolean) => boolean) =>
    seconds.map(({ second, answers }) => {
      const middleMs = (second - 0.5) * 1_000;
      const away = middleMs >= goneMs && middleMs < readyMs;
      return Object.entries(answers).reduce((sum, [status, times]) => sum + (shown(status, away) ? times : 0), 0);
    });
  const is2xx = (status: string) => status.startsWith('2');
  return [
    {
      id: 'answers',
      title: 'Answers per second',
      description: `${total('accepted')} of ${total('orders')} orders got a 2xx.`,
      stacks: [
        {
          name: `2xx, ${service} runs`,
          color: 'green',
          values: answersWhere((status, away) => is2xx(status) && !away),
        },
        {
          name: `2xx, ${service} is away`,
          color: 'yellow',
          values: answersWhere((status, away) => is2xx(status) && away),
        },
        { name: 'others', color: 'orange', values: answersWhere((status) => !is2xx(status)) },
      ],
    },
    {
      id: 'waiting',
      title: `Orders that wait for ${service}`,
      description: `${count(longestBacklog)} orders waited for ${service} at the most.`,
      stacks: [],
      line: {
        name: 'waiting',
        points: seconds.map(({ second, waiting }) => ({ atMs: second * 1_000, value: waiting[service] })),
      },
    },
    {
      id: 'completed',
      title: 'Completed orders per second',
      description: 'Orders by the second in which their last step was done.',
      stacks: [{ name: 'completed', color: 'blue', values: seconds.map(({ completed }) => completed) }],
    },
  ];
}
