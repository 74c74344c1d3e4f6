// What the order service needs of whoever takes the money. The order's id is the idempotency key of every call, so
// that whoever does not know what happened may ask again and never charges twice.

export interface Charge {
  /** The idempotency key: one order, at most one charge. */
  readonly orderId: string;
  /** In the currency's minor unit: an integer from 0 to 2^53−1. 0 is approved or declined like any other. */
  readonly amount: number;
  /** ISO 4217, in capitals. */
  readonly currency: string;
}

/**
 * - `approved`: the amount is charged. This is final: the same charge answers `approved` again and charges nothing more
 *   (until it is cancelled).
 * - `declined`: nothing is charged, or what was charged is given back. It may be tried again and may then be approved,
 *   unless the key was cancelled: then it is declined for good.
 */
export type ChargeOutcome = 'approved' | 'declined';

export interface PaymentProvider {
  /**
   * Charges an order once, however often and however concurrently it is asked.
   * Rejects with PaymentUnknown where no answer came: it may have been charged, or may yet be. Ask again, or cancel.
   * Any other rejection is a mistake of the caller's (another amount under the same key), which a retry does not fix.
   */
  charge(charge: Charge): Promise<ChargeOutcome>;
  /**
   * Ends an order's key: what was charged under it is given back, once, and nothing can be charged under it later, not
   * even by a charge that is on its way. Works before any charge; repeated, it changes nothing.
   * Rejects with PaymentUnknown where no answer came: repeat it until it resolves.
   */
  cancel(orderId: string): Promise<void>;
  /** Ends the connections; calls on their way reject with PaymentUnknown. */
  close(): Promise<void>;
}

/** The provider gave no answer (away, rejected, timed out, 5xx, unreadable): whether it acted is not known. */
export class PaymentUnknown extends Error {
  readonly code = 'payment-unknown';
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'PaymentUnknown';
  }
}
