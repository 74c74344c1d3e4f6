// Loaded into each thread of a process before it starts (node --import). Ends the worker thread with an error when the
// file THREAD_ENDS_WITH_FILE exists.
import { existsSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const file = process.env.THREAD_ENDS_WITH_FILE;
if (!isMainThread && file)
  setInterval(() => {
    if (existsSync(file)) throw new Error('this thread was made to end');
  }, 20).unref();
