// The settings of a simulation.

export interface Settings {
  readonly buyers: number;
  /** Units. */
  readonly stock: number;
  /** The queue's cap. */
  readonly queue: number;
  /** Orders per second. */
  readonly drain: number;
  /** The time in which all buyers make their first visit. */
  readonly seconds: number;
  readonly seed: number;
  /** Percent of the buyers who come twice. */
  readonly repeat: number;
  /** How often the most patient buyer comes again after a full queue. */
  readonly patience: number;
  /** How long orders may take after the last buyer left, beyond the time that the queue needs at its pace. */
  readonly timeoutSeconds: number;
}
