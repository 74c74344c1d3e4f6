-- The columns get the names that the code uses: a ticket's job is enqueued, and a request without a reply is resent.
ALTER TABLE tickets RENAME COLUMN fed_until TO enqueued_until; -- until then a job for the ticket counts as enqueued
ALTER TABLE tickets RENAME COLUMN asked TO resends; -- how often flash-sale.ticket.accepted was resent
ALTER TABLE tickets RENAME COLUMN ask_again_at TO resend_at;
ALTER INDEX tickets_unanswered RENAME TO tickets_awaiting_order;
