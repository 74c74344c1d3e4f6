// The payment provider, as the order service needs it. The order's id is the idempotency key of every call, so a caller
// that got no response repeats the call without charging twice.

export interface Charge {
  /** The idempotency key: one order, at most one charge. */
  readonly orderId: string;
  /** In the currency's minor unit: an integer from 0 to 2^53−1. 0 is approved or declined like any other. */
  readonly amount: number;
  /** ISO 4217, in capitals. */
  readonly currency: string;
}

/**
 * - `approved`: the amount is charged. Until the key is cancelled, repeating the charge resolves with `approved` and
 *   charges nothing more.
 * - `declined`: nothing is charged, or the charge is refunded. A later attempt may be approved, unless the key is
 *   cancelled.
 */
export type ChargeOutcome = 'approved' | 'declined';

export interface PaymentProvider {
  /**
   * Charges an order once, however often and concurrently it is called. Rejects with PaymentUnknown if no response
   * came: the order is charged, will be or will not, so repeat the call or cancel the key. Any other rejection is the
   * caller's mistake, such as another amount under the same key, and repeating does not help.
   */
  charge(charge: Charge): Promise<ChargeOutcome>;
  /**
   * Ends an order's key: refunds its charge, once, and prevents later charges, including one that is on its way. Works
   * before any charge; repeating it changes nothing. Rejects with PaymentUnknown if no response came: repeat it until
   * it resolves.
   */
  cancel(orderId: string): Promise<void>;
  /** Closes the connections; calls under way reject with PaymentUnknown. */
  close(): Promise<void>;
}

/** The provider gave no clear response (unreachable, timeout, 5xx, unreadable) and may have acted or not. */
export class PaymentUnknown extends Error {
  readonly code = 'payment-unknown';
  override readonly name = 'PaymentUnknown';
}
