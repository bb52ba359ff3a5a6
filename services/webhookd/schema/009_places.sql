-- The first of what waits for an endpoint, in the order of the log: what is kept in order goes by it.
CREATE INDEX waiting_place ON waiting (endpoint_id, sequence);
