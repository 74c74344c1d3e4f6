ALTER TABLE notifications DROP CONSTRAINT notifications_kind_check,
  ADD CHECK (kind IN ('order.placed', 'order.cancelled'));
