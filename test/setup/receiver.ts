import type { Receiver } from '../../infra/bus/port.ts';

/** A receiver with these methods; a call of another one is rejected, so the bus keeps the messages and the test fails. */
export function receiverWith(methods: Partial<Receiver>): Receiver {
  const unused = () => Promise.reject(new Error('the test expects no call of this method'));
  return {
    process: unused,
    enqueue: unused,
    isolate: unused,
    processOrEnqueue: unused,
    deadLetter: unused,
    wake: () => {},
    ...methods,
  };
}
