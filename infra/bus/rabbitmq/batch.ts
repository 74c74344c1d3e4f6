// One call of publish(): which of its events are still to be sent, and what became of the others.

import { BusError } from '../../mqtt/bus-error.ts';
import type { OutgoingEvent, Rejected } from '../port.ts';
import { MAX_EVENT_BYTES } from '../port.ts';

const tooLarge = ({ body }: OutgoingEvent) => Buffer.byteLength(body) > MAX_EVENT_BYTES;

export class Batch {
  /** As performance.now() tells time. */
  readonly since = performance.now();
  /** Resolves when every event has been settled. */
  readonly outcome: Promise<Rejected[]>;
  readonly #resolve: (rejected: Rejected[]) => void;
  readonly #rejected: Rejected[] = [];
  readonly #sendable: readonly OutgoingEvent[];
  #next = 0;
  #unsettled: number;

  /** Settles the oversized events at once. */
  constructor(events: readonly OutgoingEvent[]) {
    let resolve: (rejected: Rejected[]) => void = () => {};
    this.outcome = new Promise((settle) => {
      resolve = settle;
    });
    this.#resolve = resolve;
    for (const { id, type } of events.filter(tooLarge)) {
      const error = new BusError('oversized', `${type} is larger than ${MAX_EVENT_BYTES} bytes`);
      this.#rejected.push({ id, error });
    }
    this.#sendable = this.#rejected.length === 0 ? events : events.filter((event) => !tooLarge(event));
    this.#unsettled = this.#sendable.length;
    if (this.#unsettled === 0) this.#resolve(this.#rejected);
  }

  /** Takes the next event to send, or answers undefined when none is left. */
  takeNext(): OutgoingEvent | undefined {
    return this.#sendable[this.#next++];
  }

  get allTaken(): boolean {
    return this.#next >= this.#sendable.length;
  }

  /** Gives an event that was taken its outcome: an error, or none where the broker has taken it over. */
  settle(id: string, error: BusError | undefined): void {
    if (error) this.#rejected.push({ id, error });
    this.#unsettled--;
    if (this.#unsettled === 0) this.#resolve(this.#rejected);
  }

  /** Settles what has not been taken. */
  rejectRest(error: BusError): void {
    for (let event = this.takeNext(); event; event = this.takeNext()) this.settle(event.id, error);
  }
}
