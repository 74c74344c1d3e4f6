// A journal of the tickets that entered and left a sale's queue, in the order of the commits, written by triggers. It
// allows an exact check of the cap. The times of the tickets do not, because accepted_at is the time at which the
// transaction began.
import { query } from './sql.ts';

export const JOURNAL = 'public.queue_journal';

/**
 * To be called before the sale opens. The triggers fire at the end of a statement that holds the lock on the sale's row
 * until its commit, so the positions in the journal are in the order of the commits.
 */
export async function keepJournal(databaseUrl: string): Promise<void> {
  await query(
    databaseUrl,
    `CREATE TABLE ${JOURNAL} (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
       sale_id uuid NOT NULL, ticket_id uuid NOT NULL, change integer NOT NULL);
     CREATE FUNCTION public.keep_journal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO ${JOURNAL} (sale_id, ticket_id, change)
       VALUES (NEW.sale_id, NEW.id, CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END);
       RETURN NULL;
     END $$;
     CREATE TRIGGER enters AFTER INSERT ON sluice_flash_sale.tickets
       FOR EACH ROW EXECUTE FUNCTION public.keep_journal();
     CREATE TRIGGER leaves AFTER UPDATE ON sluice_flash_sale.tickets
       FOR EACH ROW WHEN (OLD.status = 'queued' AND NEW.status <> 'queued') EXECUTE FUNCTION public.keep_journal();`,
  );
}
