// A benchmark: what it measures, on which systems, and what it is compared with.
import type { Measured } from './figures.ts';
import type { Durations } from './flood.ts';
import type { Load, Work } from './load.ts';
import type { RouteKind } from './route.ts';
import type { Mode, System } from './system.ts';

export interface NamedBenchmark {
  readonly name: string;
  readonly about: string;
  readonly modes: readonly Mode[];
  readonly benchmark: Benchmark;
}

/** A bare Express route that a system is compared with. */
export interface Baseline {
  readonly route: RouteKind;
  readonly work: (url: string) => Work;
  readonly durations: Durations;
  /** The load generator must be able to send this many times faster than the bare route responds. */
  readonly minHeadroom: number;
}

export interface Benchmark {
  readonly baseline?: Baseline;
  /** Whether Redis paces the flash sales' queues. */
  readonly redis: boolean;
  /** Measures all phases on a fresh system and stops its services. */
  readonly measure: (load: Load, system: System) => Promise<Measured>;
}
