-- Whether something of the sale's queue may be left at the server that paces the queues. So it is removed when the sale is
-- over, also if that was while no process ran; of the sales that there are already, too.
ALTER TABLE sales ADD COLUMN has_queue boolean NOT NULL DEFAULT true;
ALTER TABLE sales ALTER COLUMN has_queue SET DEFAULT false;
