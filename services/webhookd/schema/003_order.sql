-- What a delivery is kept in order by, as a hash; NULL: by nothing. Of those of one endpoint and key that wait, only
-- the first is ever tried; those behind it that were found due are parked: their due_at is never, until the one
-- before them is over.
ALTER TABLE deliveries ADD COLUMN order_key BIGINT;
CREATE INDEX deliveries_order ON deliveries (endpoint_id, order_key, sequence)
    WHERE state = 1 AND order_key IS NOT NULL;
