-- A cancelled order's award is taken back by an entry of its own. An order that was never firm has only that one, of 0.
ALTER TABLE entries DROP CONSTRAINT entries_kind_check, ADD CHECK (kind IN ('award', 'revoke'));
