// What /openapi.json and /asyncapi.json say about the system as a whole.
import type { DocumentInfo } from '../../infra/documents/asyncapi/types.ts';

/** The version in package.json, which a built system does not have beside it. */
const VERSION = '0.2.0';

export const about = (description: string): DocumentInfo => ({
  title: 'Sluice',
  version: VERSION,
  description,
  license: { name: 'MIT' },
});
