/** For `await using`, which closes it at the end of the block, also on an error. */
export const closing = <R extends object>(resource: R, close: (resource: R) => unknown): R & AsyncDisposable =>
  Object.assign(resource, {
    [Symbol.asyncDispose]: async () => {
      await close(resource);
    },
  });
