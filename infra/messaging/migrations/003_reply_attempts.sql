-- A message that was handled (status 'done' or 'dead') arrived again, and its reply is to be sent again (asked_again). The
-- table is not rewritten.
ALTER TABLE inbox
  ADD COLUMN reply_attempts integer NOT NULL DEFAULT 0, -- at that, including the one under way
  ADD COLUMN reply_error text; -- why the last of them failed; null once one succeeded
