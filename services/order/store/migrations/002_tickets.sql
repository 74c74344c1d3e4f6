-- The flash sale's ticket that an order was placed for: one order per ticket, however often it is asked for.
ALTER TABLE orders ADD COLUMN ticket_id uuid;
CREATE UNIQUE INDEX orders_ticket ON orders (ticket_id) WHERE ticket_id IS NOT NULL;
