// What a simulation is asked to do.

export interface Settings {
  readonly buyers: number;
  /** Units. */
  readonly stock: number;
  /** The queue's cap. */
  readonly queue: number;
  /** Orders per second. */
  readonly drain: number;
  /** In which all buyers arrive first. */
  readonly seconds: number;
  readonly seed: number;
  /** Percent of the buyers who come twice. */
  readonly repeat: number;
  /** How often the most patient buyer comes again after the queue was full. */
  readonly patience: number;
  /** How long orders may take beyond what the queue needs at its pace, after the last buyer left. */
  readonly timeoutSeconds: number;
}
