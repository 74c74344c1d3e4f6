// What every way of enforcing a sale's cap has in common, so that all are asked by the same clients.

export interface Sale {
  /** Characters of A-Z a-z 0-9 and -, new for each sale. */
  readonly id: string;
  /** Units. */
  readonly stock: number;
  /** How many buyers may be in the queue at a time. */
  readonly cap: number;
}

/** A gateway's connection to whatever decides. Both calls may be under way many times at once. */
export interface Client {
  /** Whether the buyer gets a place. Rejects when that is unknown. */
  decide(buyer: string): Promise<boolean>;
  /** What an admitted buyer's work begins with, where that is a step apart from the decision. */
  begin?(buyer: string): Promise<void>;
  close(): Promise<void>;
}

export interface Way {
  /** Opens a sale, once, before any client connects. */
  open(url: string, sale: Sale): Promise<void>;
  connect(url: string, sale: Sale): Promise<Client>;
  /** Buyers in the queue, as the server itself knows it: not from what the clients were told. */
  queued(url: string, sale: Sale): Promise<number>;
}
