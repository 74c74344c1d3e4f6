-- The reversals that failed, of a cancelled order: by step, when. Kept beside the step, which only moves up and stays what
-- the placing made of it until it is reverted.
ALTER TABLE progress ADD COLUMN failed_reversals jsonb NOT NULL DEFAULT '{}';
