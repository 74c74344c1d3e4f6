// The scenario of an outage: orders flow, a service goes away, comes back and catches up; then the flow ends, and every
// accepted order is completed.
import { randomBytes } from 'node:crypto';
import { type StepService, steps } from '../shared/metrics.ts';
import { recordOf } from '../shared/record-of.ts';
import { latencyOf } from '../shared/statistics.ts';
import { byStatus, Flow, isAccepted, latencyMsOf, type OrderResponse } from './flow.ts';
import type { OutageSystem } from './system.ts';
import { type Sample, Watch } from './watch.ts';

/** Orders before the first measured second, so that code is compiled and caches are filled. */
const WARM_UP_MS = 2_000;
/** The flow goes on for this long after the backlog is gone. */
const CALM_MS = 3_000;
/** Orders of a single user would make long lists. */
const USERS = 10;

export interface Settings {
  readonly service: StepService;
  /** Orders per second. */
  readonly rate: number;
  readonly beforeSeconds: number;
  /** How long the service is away. */
  readonly awaySeconds: number;
  /** How long catching up may take, and then completing the rest. */
  readonly timeoutSeconds: number;
}

/**
 * The measurements. Times are in milliseconds after the start of the first measured second; responses include earlier
 * ones.
 */
export type Scenario = Awaited<ReturnType<typeof runScenario>>;

/** Shows a scenario while it runs; an event is a few words. */
export interface Display {
  second(second: Second): void;
  event(text: string): void;
}

interface ScenarioOptions {
  readonly system: OutageSystem;
  readonly settings: Settings;
  readonly show: Display;
  readonly signal: AbortSignal;
}

export async function runScenario(options: ScenarioOptions) {
  const { system, settings, show, signal } = options;
  const url = system.urlOf('order');
  const seconds: Second[] = [];
  let flow: Flow | undefined;
  const watch = new Watch({
    url,
    signal,
    accepted: () => flow?.accepted.length ?? 0,
    onSample: ({ atMs }) => {
      while (flow && atMs >= (seconds.length + 1) * 1_000) {
        const second = secondOf(seconds.length + 1, flow.responses, watch.samples);
        seconds.push(second);
        show.second(second);
      }
    },
  });
  try {
    const origin = await watch.start(WARM_UP_MS);
    const run = randomBytes(4).toString('hex'); // other users than in an earlier run on the same data
    const users = Array.from({ length: USERS }, (_, index) => `outage-${run}-${index}`);
    flow = new Flow({ url, rate: settings.rate, users, origin, signal });
    const times = await outage(options, { watch, flow, origin });
    return { settings, responses: flow.responses, accepted: flow.accepted, samples: watch.samples, seconds, ...times };
  } finally {
    await Promise.all([flow?.end(), watch.close()]);
  }
}

/**
 * When the stop was requested, when the service was gone, when its start was requested, and when it was ready; when its
 * backlog was as short as before the stop, and when every accepted order was completed (undefined: not in time).
 */
async function outage(
  { system, settings, show }: ScenarioOptions,
  { watch, flow, origin }: { readonly watch: Watch; readonly flow: Flow; readonly origin: number },
) {
  const { service, rate, beforeSeconds, awaySeconds, timeoutSeconds } = settings;
  const { poller, samples } = watch;
  const now = () => performance.now() - origin;
  const untilMs = (ms: number) => poller.until(({ atMs }) => atMs >= ms);
  const inTime = (done: (sample: Sample) => boolean) => poller.until(done, performance.now() + timeoutSeconds * 1_000);

  await untilMs(beforeSeconds * 1_000);
  const usual = usualBacklog(samples, service, rate);
  const stopMs = now();
  await poller.during(system.stop(service));
  const goneMs = now();
  show.event(`${service} is stopped`);
  await untilMs(goneMs + awaySeconds * 1_000);

  const backMs = now();
  show.event(`${service} is started again`);
  await poller.during(system.start(service));
  const readyMs = now();
  const caughtUp = await inTime(({ waiting }) => waiting[service] <= usual);
  const caughtUpMs = caughtUp ? samples.at(-1)?.atMs : undefined;
  if (caughtUp) {
    show.event(`${service} has caught up`);
    await untilMs(now() + CALM_MS);
  }
  await poller.during(flow.end());
  const completed = await inTime(({ waiting }) => steps.every((step) => waiting[step] === 0));
  return { stopMs, goneMs, backMs, readyMs, caughtUpMs, completedMs: completed ? now() : undefined };
}

/** The service's longest backlog while it runs: with orders flowing, a few are always waiting. */
function usualBacklog(samples: readonly Sample[], service: StepService, rate: number): number {
  const before = samples.filter(({ atMs }) => atMs >= 0).map(({ waiting }) => waiting[service]);
  return Math.max(Math.ceil(rate / 5), ...before);
}

export type Second = ReturnType<typeof secondOf>;

/**
 * One second for the display. `second` counts from 1; `responses` and `samples` are in the order of time. Reads only
 * their ends, because it is called every second.
 */
export function secondOf(second: number, responses: readonly OrderResponse[], samples: readonly Sample[]) {
  const fromMs = (second - 1) * 1_000;
  const toMs = second * 1_000;
  const since = responses.slice(responses.findLastIndex(({ atMs }) => atMs < fromMs) + 1);
  const within = since.filter(({ atMs }) => atMs < toMs);
  const last = samples.findLast(({ atMs }) => atMs < toMs);
  const before = samples.findLast(({ atMs }) => atMs < fromMs);
  return {
    second,
    responses: byStatus(within),
    /** The latency of the 2xx, from the time at which their orders were due; null without any. */
    p95Ms: latencyOf(within.filter(isAccepted).map(latencyMsOf))?.p95 ?? null,
    completed: (last?.completed ?? 0) - (before?.completed ?? 0),
    /** The backlog of each service at the end of this second. */
    waiting: last?.waiting ?? recordOf(steps, () => 0),
  };
}
