-- Endpoints of sink QUEUE are fetched from: no replica owns them, and nothing is ever due for a courier.
ALTER TABLE endpoints ADD COLUMN pulled BIGINT NOT NULL DEFAULT 0;
-- When the delivery's present lease began; it ends at due_at. NULL: nobody has leased it.
ALTER TABLE deliveries ADD COLUMN leased_at BIGINT;
CREATE INDEX deliveries_leased ON deliveries (endpoint_id, due_at) WHERE leased_at IS NOT NULL AND state = 1;
