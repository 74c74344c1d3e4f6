// One task after the other, in the order they came.

export interface SerialQueue {
  /** Runs the task when those before it have ended; resolves or rejects as it does. Rejects at once with QueueFull. */
  run<T>(task: () => Promise<T>): Promise<T>;
  /** Resolves when everything that was put in so far has ended. */
  idle(): Promise<void>;
}

export class QueueFull extends Error {
  constructor(limit: number) {
    super(`${limit} tasks are waiting already`);
    this.name = 'QueueFull';
  }
}

/** `limit`: tasks that may wait or run at a time. */
export function createSerialQueue(limit: number): SerialQueue {
  let last: Promise<unknown> = Promise.resolve();
  let length = 0;
  return {
    async run(task) {
      if (length >= limit) throw new QueueFull(limit);
      length++;
      const result = last.then(task);
      last = result.catch(() => {}).finally(() => length--);
      return result;
    },
    async idle() {
      await last;
    },
  };
}
