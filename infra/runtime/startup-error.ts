/** Something outside stops the start; the message says what to do about it and is shown without a stack trace. */
export class StartupError extends Error {
  override readonly name: string = 'StartupError';
}
