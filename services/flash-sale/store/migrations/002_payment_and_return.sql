-- flash-sale.ticket.closed is the answer to order.cancelled: asking again is answered by the same event.
ALTER TABLE tickets ADD COLUMN closed_event_id uuid;
CREATE INDEX tickets_released ON tickets (order_id) WHERE status = 'released';

-- Whoever waits for payment is asked about as well, once the time to pay is over.
DROP INDEX tickets_unanswered;
CREATE INDEX tickets_unanswered ON tickets (ask_again_at) WHERE status IN ('accepted', 'awaiting-payment');
