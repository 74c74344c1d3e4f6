// Failpoints, at which FAILPOINT=name kills the process like kill -9 in a test. They lie between two durable steps,
// where a crash must cost only time. Each list of names makes a function of its own, so that an unknown name is a type
// error.

/** Returns a function that kills the process with SIGKILL if FAILPOINT is the given name. */
export const failpointOf =
  <const Names extends readonly string[]>(_names: Names) =>
  (name: Names[number]): void => {
    if (process.env.FAILPOINT === name) process.kill(process.pid, 'SIGKILL');
  };
