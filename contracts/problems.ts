// Errors are RFC 9457 problem details, as application/problem+json.
import { z } from 'zod';

export const problem = z.object({
  type: z.string().regex(/^\/problems\/[a-z-]+$/),
  title: z.string(),
  status: z.int().min(400).max(599),
  detail: z.string().optional(),
  /** The fields at fault; `path` is such as `items.0.quantity`. */
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
