-- Rejected purchases are called rejections everywhere, in the tables too.
ALTER TABLE refusals RENAME TO rejections;
