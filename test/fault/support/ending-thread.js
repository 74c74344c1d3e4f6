// Loaded into each thread of a process before it starts (node --import). Ends the worker thread with an error after
// THREAD_ENDS_AFTER_MS, if that is set.
import { isMainThread } from 'node:worker_threads';

const afterMs = Number(process.env.THREAD_ENDS_AFTER_MS);
if (!isMainThread && afterMs > 0)
  setTimeout(() => {
    throw new Error('this thread was made to end');
  }, afterMs);
