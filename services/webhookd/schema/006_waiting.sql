-- What waits, is under way or is leased has a row in `waiting`, narrow and short-lived; a delivery's own row is not
-- touched when it is delivered, which is what happens to nearly all. No foreign keys: who adds deliveries holds
-- their endpoint, and who deletes an endpoint deletes what it had.
-- oldest: 6
CREATE TABLE attempts_free (
    delivery_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    endpoint_id TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    message BYTEA NOT NULL,
    PRIMARY KEY (delivery_id, number)
);
INSERT INTO attempts_free SELECT delivery_id, number, endpoint_id, started_at, latency_ms, succeeded, message FROM attempts;
DROP TABLE attempts;
ALTER TABLE attempts_free RENAME TO attempts;
CREATE INDEX attempts_endpoint ON attempts (endpoint_id, started_at);
-- A lease ends at due_at. `attempts` counts what was begun, `tries` those since it was last sent anew.
CREATE TABLE waiting (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    leased_at BIGINT,
    order_key BIGINT
);
INSERT INTO waiting SELECT id, tenant_id, endpoint_id, sequence, attempts, tries, due_at, created_at, leased_at, order_key
    FROM deliveries WHERE state = 1;
-- `state` is that of deliveries that were given up or skipped, and 0 of all others; `attempts` and `finished_at` are
-- of those only.
CREATE TABLE deliveries_free (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    order_key BIGINT,
    created_at BIGINT NOT NULL,
    state BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    finished_at BIGINT
);
INSERT INTO deliveries_free SELECT id, tenant_id, endpoint_id, sequence, event_id, event_type, order_key, created_at,
    CASE WHEN state IN (3, 4) THEN state ELSE 0 END, CASE WHEN state IN (3, 4) THEN attempts ELSE 0 END,
    CASE WHEN state IN (3, 4) THEN finished_at END FROM deliveries;
DROP TABLE deliveries;
ALTER TABLE deliveries_free RENAME TO deliveries;
CREATE INDEX deliveries_tenant ON deliveries (tenant_id, id);
CREATE INDEX deliveries_event ON deliveries (tenant_id, event_id);
CREATE INDEX deliveries_lost ON deliveries (endpoint_id, sequence) WHERE state <> 0;
CREATE INDEX deliveries_dead ON deliveries (tenant_id, id) WHERE state <> 0;
CREATE INDEX waiting_due ON waiting (endpoint_id, due_at, sequence);
CREATE INDEX waiting_leased ON waiting (endpoint_id, due_at) WHERE leased_at IS NOT NULL;
CREATE INDEX waiting_order ON waiting (endpoint_id, order_key, sequence) WHERE order_key IS NOT NULL;
CREATE VIEW delivery_states AS
SELECT d.id, d.tenant_id, d.endpoint_id, d.sequence, d.event_id, d.event_type, d.order_key, d.created_at, d.state AS lost,
    w.tries, w.due_at, w.leased_at,
    CASE WHEN w.id IS NOT NULL THEN 1 WHEN d.state <> 0 THEN d.state ELSE 2 END AS state,
    CASE WHEN w.id IS NOT NULL THEN w.attempts WHEN d.state <> 0 THEN d.attempts
        ELSE (SELECT COALESCE(MAX(a.number), 0) FROM attempts a WHERE a.delivery_id = d.id) END AS attempts,
    CASE WHEN w.id IS NOT NULL THEN NULL WHEN d.state <> 0 THEN d.finished_at
        ELSE (SELECT MAX(a.started_at + a.latency_ms) FROM attempts a WHERE a.delivery_id = d.id) END AS finished_at
FROM deliveries d LEFT JOIN waiting w ON w.id = d.id;
-- Recoveries under way: of an endpoint's deliveries made in a time, those up to at_sequence have been seen to.
CREATE TABLE recoveries (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    at_sequence BIGINT NOT NULL
);
