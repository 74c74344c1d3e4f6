// A copy of the current sources with a change that a next release could make and that the gate permits: order.placed
// has an optional field, points has columns for it, and a new event type goes to a new service.
//
// Points stores where an order was placed (`channel`), as the `tier` of its award, and grants a credit for each award
// that has a tier. An award of an older process has none. Loyalty stores the credits.
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type Copy, copyOfSources } from '../mutations/copy.ts';
import { type Change, changed } from '../mutations/mutation.ts';

const run = promisify(execFile);

const changes: readonly Change[] = [
  {
    file: 'contracts/events.ts',
    find: `ticketId: ticketId.optional().meta({ description: 'The flash-sale ticket that the order was placed for.' }),`,
    replace: `channel: z.string().max(20).optional(),\n      ticketId: ticketId.optional(),`,
  },
  {
    file: 'contracts/events.ts',
    find: `  'coupon.issued': z\n`,
    replace: `  'credit.granted': z.object({ orderId, userId, points: amount, tier: z.string() }),\n  'coupon.issued': z\n`,
  },
  {
    file: 'contracts/services.ts',
    find: `  'flash-sale': ['order.placed', 'order.cancelled',`,
    replace: `  loyalty: ['credit.granted'],\n  'flash-sale': ['order.placed', 'order.cancelled',`,
  },
  {
    file: 'contracts/services.ts',
    find: `  points: ['points.awarded', 'points.revoked', 'step.failed'],`,
    replace: `  loyalty: [],\n  points: ['points.awarded', 'points.revoked', 'credit.granted', 'step.failed'],`,
  },
  {
    file: 'contracts/event-examples.ts',
    find: `  'points.revoked': {`,
    replace: `  'credit.granted': {
    service: 'points',
    subject: lampOrder,
    time: '2026-11-27T20:00:03.140Z',
    data: { orderId: lampOrder, userId, points: 59, tier: 'web' },
  },
  'points.revoked': {`,
  },
  {
    file: 'contracts/routes/audit.ts',
    find: `  'flash-sale': {`,
    replace: `  loyalty: {
    readLoyaltyMessages: messagesRoute('loyalty'),
    readLoyaltyHistory: historyPartRoute('loyalty'),
  },
  'flash-sale': {`,
  },
  {
    file: 'contracts/routes/index.ts',
    find: `  'flash-sale': {`,
    replace: `  loyalty: auditRoutes.loyalty,\n  'flash-sale': {`,
  },
  {
    file: 'services/order/place-order.ts',
    find: 'itemCount: items.length };',
    replace: `itemCount: items.length, channel: 'web' };`,
  },
  {
    file: 'services/points/points.ts',
    find: `{ orderId, userId, ...order }: Pick<Placed, 'orderId' | 'userId' | 'currency' | 'total'>,`,
    replace: `{ orderId, userId, ...order }: Pick<Placed, 'orderId' | 'userId' | 'currency' | 'total' | 'channel'>,`,
  },
  {
    file: 'services/points/points.ts',
    find: 'points: pointsFor(order, perMajorUnit) });',
    replace: `points: pointsFor(order, perMajorUnit), tier: order.channel ?? 'unknown' });`,
  },
  {
    file: 'services/points/store/entries.ts',
    find: '  readonly points: number;\n',
    replace: '  readonly points: number;\n  readonly tier: string;\n',
  },
  {
    file: 'services/points/store/entries.ts',
    find: `(id, order_id, user_id, kind, points, event_id)
  SELECT id, "orderId", "userId", 'award', points, "eventId"`,
    replace: `(id, order_id, user_id, kind, points, event_id, tier)
  SELECT id, "orderId", "userId", 'award', points, "eventId", tier`,
  },
  {
    file: 'services/points/store/entries.ts',
    find: '"userId" text, points bigint)',
    replace: '"userId" text, points bigint, tier text)',
  },
  {
    file: 'services/points/store/entries.ts',
    find: `Omit<Award, 'points'>`,
    replace: `Omit<Award, 'points' | 'tier'>`,
  },
  {
    file: 'services/points/store/entries.ts',
    find: 'events: `SELECT DISTINCT ON (order_id) event_id,',
    replace: 'events: `(SELECT DISTINCT ON (order_id) event_id,',
  },
  {
    file: 'services/points/store/entries.ts',
    find: 'ORDER BY order_id, kind DESC`,',
    replace: `ORDER BY order_id, kind DESC)
  UNION ALL SELECT credit_event_id, 'credit.granted', order_id, at,
    json_build_object('orderId', order_id, 'userId', user_id, 'points', points, 'tier', tier)::text
  FROM \${SCHEMA}.entries WHERE order_id = ANY($1::uuid[]) AND kind = 'award' AND tier IS NOT NULL\`,`,
  },
  {
    file: 'app/start-services.ts',
    find: '  notify: notifyService,\n',
    replace: '  notify: notifyService,\n  loyalty: loyaltyService,\n',
  },
  {
    file: 'app/start-services.ts',
    find: `import { notifyService } from`,
    replace: `import { loyaltyService } from '../services/loyalty/index.ts';\nimport { notifyService } from`,
  },
];

const files: Readonly<Record<string, string>> = {
  // Its number exceeds those of the current migrations. The default is for the rows that older processes insert.
  'services/points/store/migrations/900_tiers.sql': `ALTER TABLE entries
  ADD COLUMN tier text,
  ADD COLUMN credit_event_id uuid NOT NULL DEFAULT gen_random_uuid();\n`,
  'services/loyalty/store/migrations/001_credits.sql': `CREATE TABLE credits (
  order_id uuid PRIMARY KEY,
  points bigint NOT NULL,
  tier text NOT NULL
);\n`,
  // Without ON CONFLICT, so that a credit that is granted twice is a dead message.
  'services/loyalty/index.ts': `import type { Event } from '../../contracts/events.ts';
import type { Subscribed } from '../../contracts/services.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';

export const loyaltyService = (_context: ServiceContext<object>): Service<Event<Subscribed<'loyalty'>>> => ({
  migrations: new URL('./store/migrations/', import.meta.url),
  handlers: {
    'credit.granted': {
      handle: (tx, events) =>
        tx.execute(
          \`INSERT INTO sluice_loyalty.credits (order_id, points, tier)
           SELECT "orderId", points, tier
           FROM json_to_recordset($1::json) AS r ("orderId" uuid, points bigint, tier text) ORDER BY "orderId"\`,
          [JSON.stringify(events.map(({ data }) => data))],
        ),
    },
  },
  routes: () => {},
  facts: {},
});\n`,
};

/** Makes the change in the sources at `root`. Rejects if it does not apply to them. */
export async function changeSources(root: string): Promise<void> {
  for (const change of changes) {
    const path = join(root, change.file);
    await writeFile(path, changed(await readFile(path, 'utf8'), change));
  }
  for (const [file, text] of Object.entries(files)) {
    const path = join(root, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
}

export interface NewerCopy extends Copy {
  /** The compiled file that Node.js runs. */
  readonly program: string;
}

/** Rejects if the change does not apply to the current sources or does not compile. */
export async function buildNewerCopy(): Promise<NewerCopy> {
  const copy = await copyOfSources();
  try {
    await changeSources(copy.root);
    await run(process.execPath, [join(copy.root, 'bin/build.js')], { cwd: copy.root });
  } catch (error) {
    await copy.remove();
    throw error;
  }
  return { ...copy, program: join(copy.root, 'dist/cli/main.js') };
}
