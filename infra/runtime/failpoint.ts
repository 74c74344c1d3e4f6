// Places where a test may kill the process as kill -9 would: FAILPOINT=name. They mark the moments between two durable
// steps, where a crash must cost nothing but time. Each list of them makes its own function, so that a name that is not in
// the list is a type error.

/** The function ends the process with SIGKILL if FAILPOINT names this place. */
export const failpointOf =
  <const Names extends readonly string[]>(_names: Names) =>
  (name: Names[number]): void => {
    if (process.env.FAILPOINT === name) process.kill(process.pid, 'SIGKILL');
  };
