// Idempotency-Key, the header with which POST /orders and POST /flash-sales may be repeated.
import { z } from 'zod';

export const idempotencyKey = z
  .string()
  .regex(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters')
  .optional();
