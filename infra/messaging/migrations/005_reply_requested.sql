-- A message arrived again, so its reply is to be resent. The index inbox_due follows the new name by itself.
ALTER TABLE inbox RENAME COLUMN asked_again TO reply_requested;
