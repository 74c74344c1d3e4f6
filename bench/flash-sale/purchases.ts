// The purchases that the load generator sends, and the meaning of the responses.
import type { Work } from '../load.ts';
import { BROKEN } from '../raw-http.ts';

/** Tickets that leave a queue per second, in every sale. */
export const PACE = 100;
/** Enough to keep a server busy, few enough not to overload it. */
export const CONNECTIONS = 256;
/** For bare routes, which do not look at the id. */
const ANY_SALE = '01990000-0000-7000-8000-000000000000';

/** Decisions: admitted, rejected by the sale (not open, sold out), queue full. No decision: the process is too busy. */
export const [ADMITTED, OVER, FULL, BUSY] = [202, 409, 429, 503] as const;

export const purchasesOf = (url: string, saleId = ANY_SALE, connections = CONNECTIONS): Work => ({
  url: `${url}/flash-sales/${saleId}/purchases`,
  body: 'purchase',
  connections,
  expected: [ADMITTED, OVER, FULL, BUSY, BROKEN],
});
