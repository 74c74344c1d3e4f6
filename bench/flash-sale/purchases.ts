// Where the load generator sends purchases, and what the answers mean.
import type { Work } from '../load.ts';
import { BROKEN } from '../raw-http.ts';

/** Enough to keep a server busy, few enough that it is not overloaded. */
export const CONNECTIONS = 256;
/** For bare routes, which do not look. */
export const ANY_SALE = '01990000-0000-7000-8000-000000000000';

/** Decided about: admitted, rejected by the sale (not open, sold out), its queue full. Rejected by the process: too busy. */
export const [ADMITTED, OVER, FULL, BUSY] = [202, 409, 429, 503] as const;

export const purchasesOf = (url: string, saleId: string, connections: number): Work => ({
  url: `${url}/flash-sales/${saleId}/purchases`,
  body: 'purchase',
  connections,
  expected: [ADMITTED, OVER, FULL, BUSY, BROKEN],
});

/** To the bare node:http server. */
export const toEcho = (url: string): Work => ({ ...purchasesOf(url, ANY_SALE, CONNECTIONS), expected: [201] });
