// The course of an outage: orders flow, a service goes, comes back, catches up; then the flow ends, and everything that
// was accepted is completed.
import { randomBytes } from 'node:crypto';
import type { StepService } from '../shared/metrics.ts';
import { type Answer, Flow } from './flow.ts';
import { type Second, secondOf } from './seconds.ts';
import { type OutageSystem, steps } from './system.ts';
import { type Sample, Watch } from './watch.ts';

/** Orders before those that count, so that code is compiled and caches are filled. */
const WARM_UP_MS = 2_000;
/** The flow goes on for this long after the backlog is gone. */
const CALM_MS = 3_000;
/** Orders of one user would make long lists. */
const USERS = 10;

export interface Settings {
  readonly service: StepService;
  /** Orders a second. */
  readonly rate: number;
  readonly beforeSeconds: number;
  /** How long the service is away. */
  readonly awaySeconds: number;
  /** How long catching up, and completing what is left, may take. */
  readonly timeoutSeconds: number;
}

/** Times are in milliseconds, after the first second that counts began. */
export interface Course {
  readonly settings: Settings;
  /** All of them, those before the first second that counts too. */
  readonly answers: readonly Answer[];
  readonly accepted: readonly string[];
  readonly samples: readonly Sample[];
  readonly seconds: readonly Second[];
  /** The stop was asked for. */
  readonly stopMs: number;
  /** The service was gone. */
  readonly goneMs: number;
  /** Its start was asked for. */
  readonly backMs: number;
  /** It was ready. */
  readonly readyMs: number;
  /** No more orders waited for it than before it was stopped; undefined: that did not come in time. */
  readonly caughtUpMs: number | undefined;
  /** Everything accepted is completed; undefined: not in time. */
  readonly completedMs: number | undefined;
}

/** What there is to show while it runs. */
export interface Show {
  second(second: Second): void;
  /** Something happened, in a few words. */
  event(text: string): void;
}

export async function runCourse(
  system: OutageSystem,
  settings: Settings,
  show: Show,
  signal: AbortSignal,
): Promise<Course> {
  const { service, rate, beforeSeconds, awaySeconds, timeoutSeconds } = settings;
  const url = system.urlOf('order');
  const watch = await Watch.open({ url, signal });
  const origin = performance.now() + WARM_UP_MS;
  const now = () => performance.now() - origin;
  // Not those of an earlier run on the same data.
  const users = Array.from({ length: USERS }, (_, index) => `outage-${randomBytes(4).toString('hex')}-${index}`);
  const flow = new Flow({ url, rate, users, origin, signal });
  const seconds: Second[] = [];
  watch.begin({
    origin,
    accepted: () => flow.accepted.length,
    onSample: ({ atMs }) => {
      while (atMs >= (seconds.length + 1) * 1_000) {
        const second = secondOf(seconds.length + 1, flow.answers, watch.samples);
        seconds.push(second);
        show.second(second);
      }
    },
  });
  try {
    const after = (ms: number) => watch.until(({ atMs }) => atMs >= ms);
    await after(beforeSeconds * 1_000);
    const usual = usuallyWaiting(watch.samples, service, rate);

    const stopMs = now();
    await watch.during(system.stop(service));
    const goneMs = now();
    show.event(`${service} is stopped`);
    await after(goneMs + awaySeconds * 1_000);

    const backMs = now();
    show.event(`${service} is started again`);
    await watch.during(system.start(service));
    const readyMs = now();
    const limitMs = readyMs + timeoutSeconds * 1_000;
    const caughtUp = await watch.until(({ waiting }) => waiting[service] <= usual, limitMs);
    const caughtUpMs = caughtUp ? watch.samples.at(-1)?.atMs : undefined;
    if (caughtUp) {
      show.event(`${service} has caught up`);
      await after(now() + CALM_MS);
    }
    await watch.during(flow.end());
    const nothingWaits = ({ waiting }: Sample) => steps.every((step) => waiting[step] === 0);
    const completed = await watch.until(nothingWaits, now() + timeoutSeconds * 1_000);
    return {
      settings,
      answers: flow.answers,
      accepted: flow.accepted,
      samples: watch.samples,
      seconds,
      stopMs,
      goneMs,
      backMs,
      readyMs,
      caughtUpMs,
      completedMs: completed ? now() : undefined,
    };
  } finally {
    await Promise.all([flow.end(), watch.close()]);
  }
}

/** How many orders wait for the service while all is well: a flow is never quite without. */
function usuallyWaiting(samples: readonly Sample[], service: StepService, rate: number): number {
  const before = samples.filter(({ atMs }) => atMs >= 0).map(({ waiting }) => waiting[service]);
  return Math.max(Math.ceil(rate / 5), ...before);
}
