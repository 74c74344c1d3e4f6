// One call of publish(): its events that are still to be sent, and the outcome of the others.
import type { BusError } from '../../mqtt/port.ts';
import { sizeError } from '../outgoing.ts';
import type { OutgoingEvent, Rejected } from '../port.ts';

export class Batch {
  /** By performance.now(). */
  readonly since = performance.now();
  /** Resolves when every event has been settled. */
  readonly outcome: Promise<Rejected[]>;
  readonly #resolve: (rejected: Rejected[]) => void;
  readonly #rejected: Rejected[] = [];
  readonly #sendable: OutgoingEvent[] = [];
  #next = 0;
  #unsettled: number;

  /** Settles the oversized events at once. */
  constructor(events: readonly OutgoingEvent[]) {
    let resolve: (rejected: Rejected[]) => void = () => {};
    this.outcome = new Promise((settle) => {
      resolve = settle;
    });
    this.#resolve = resolve;
    for (const event of events) {
      const error = sizeError(event);
      if (error) this.#rejected.push({ id: event.id, error });
      else this.#sendable.push(event);
    }
    this.#unsettled = this.#sendable.length;
    if (this.#unsettled === 0) this.#resolve(this.#rejected);
  }

  /** Takes the next event to send; undefined if none is left. */
  takeNext(): OutgoingEvent | undefined {
    return this.#sendable[this.#next++];
  }

  get allTaken(): boolean {
    return this.#next >= this.#sendable.length;
  }

  /** Records the outcome of an event that was taken: an error, or undefined if the broker has taken it over. */
  settle(id: string, error: BusError | undefined): void {
    if (error) this.#rejected.push({ id, error });
    this.#unsettled--;
    if (this.#unsettled === 0) this.#resolve(this.#rejected);
  }

  /** Rejects the events that have not been taken. */
  rejectRest(error: BusError): void {
    for (let event = this.takeNext(); event; event = this.takeNext()) this.settle(event.id, error);
  }
}
