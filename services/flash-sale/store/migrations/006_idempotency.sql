-- POST /flash-sales may be repeated with the same Idempotency-Key. The key is kept as long as the sale.
ALTER TABLE sales
  ADD COLUMN idempotency_key text,
  ADD COLUMN request_hash text, -- of the request that used the key
  ADD CONSTRAINT key_with_its_request CHECK ((idempotency_key IS NULL) = (request_hash IS NULL));
CREATE UNIQUE INDEX sales_idempotency ON sales (idempotency_key) WHERE idempotency_key IS NOT NULL;
