// The interface of all strategies of enforcing a sale's cap, so that the same clients can compare all of them.

export interface Sale {
  /** Characters of A-Z a-z 0-9 and -, new for each sale. */
  readonly id: string;
  /** Units. */
  readonly stock: number;
  /** Buyers in the queue at a time, at most. */
  readonly cap: number;
}

/** A gateway's connection to the server that decides. Both calls may run many times at once. */
export interface Client {
  /** Whether the buyer gets a place. Rejects if that is unknown. */
  readonly decide: (buyer: string) => Promise<boolean>;
  /** Begins an admitted buyer's work, if that is a step apart from the decision. */
  readonly begin?: (buyer: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface Strategy {
  /** Opens a sale, once, before any client connects. */
  open(url: string, sale: Sale): Promise<void>;
  connect(url: string, sale: Sale): Promise<Client>;
  /** Buyers in the queue by the server's own count, not by what clients were told. */
  queued(url: string, sale: Sale): Promise<number>;
}
