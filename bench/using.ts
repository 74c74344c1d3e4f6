/** Runs `work` on what has been opened, and closes that afterwards, also on an error. */
export async function using<R, T>(
  opened: R | Promise<R>,
  close: (resource: R) => unknown,
  work: (resource: R) => T | Promise<T>,
): Promise<T> {
  const resource = await opened;
  try {
    return await work(resource);
  } finally {
    await close(resource);
  }
}
