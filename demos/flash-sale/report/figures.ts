// Numbers as the terminal and the report write them.
import { count } from '../../shared/terminal.ts';

/** `99.8/s`, `1,546/s`; a dash where there is no rate. */
export const perSecond = (rate: number | null): string =>
  rate === null ? '–' : `${rate < 200 ? rate.toFixed(1) : count(Math.round(rate))}/s`;

/** Milliseconds as seconds: `0.25`, `3`. */
export const seconds = (ms: number): string => String(Math.round(ms) / 1_000);
