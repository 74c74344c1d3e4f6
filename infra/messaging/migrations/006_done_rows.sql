-- Almost all rows are done. They have no next attempt, and a page needs no room for later versions of its rows: an update
-- that changes `status` writes an entry into each index wherever the new version is, and most rows are written once. The
-- table is not rewritten: both settings apply to rows that are written from now on.
ALTER TABLE inbox ALTER COLUMN next_attempt_at DROP NOT NULL; -- null while no attempt is due
ALTER TABLE inbox RESET (fillfactor);
