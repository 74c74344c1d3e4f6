// Why a broker did not take a message over.
export type BusErrorCode =
  | 'unavailable' // no connection, or it broke before the confirm
  | 'unconfirmed' // no confirm in time
  | 'unroutable' // no queue would have received it
  | 'rejected' // the broker said no (nack, full queue)
  | 'oversized'; // larger than MAX_EVENT_BYTES

export class BusError extends Error {
  readonly code: BusErrorCode;
  constructor(code: BusErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'BusError';
    this.code = code;
  }
}
