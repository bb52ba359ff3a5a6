-- What is written for every delivery has few trees: on SQLite rows are kept in that of their primary key. `waiting` is
-- kept in the order in which it is due, which is how it is read.
-- oldest: 6
DROP VIEW delivery_states;
CREATE TABLE attempts_clustered (
    delivery_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    endpoint_id TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    message BYTEA NOT NULL,
    PRIMARY KEY (delivery_id, number)
) @clustered@;
INSERT INTO attempts_clustered SELECT delivery_id, number, endpoint_id, started_at, latency_ms, succeeded, message FROM attempts;
DROP TABLE attempts;
ALTER TABLE attempts_clustered RENAME TO attempts;
CREATE INDEX attempts_endpoint ON attempts (endpoint_id, started_at);
CREATE TABLE deliveries_clustered (
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
) @clustered@;
INSERT INTO deliveries_clustered SELECT id, tenant_id, endpoint_id, sequence, event_id, event_type, order_key, created_at,
    state, attempts, finished_at FROM deliveries;
DROP TABLE deliveries;
ALTER TABLE deliveries_clustered RENAME TO deliveries;
CREATE INDEX deliveries_tenant ON deliveries (tenant_id, id);
CREATE INDEX deliveries_event ON deliveries (tenant_id, event_id);
CREATE INDEX deliveries_lost ON deliveries (endpoint_id, sequence) WHERE state <> 0;
CREATE INDEX deliveries_dead ON deliveries (tenant_id, id) WHERE state <> 0;
CREATE TABLE waiting_clustered (
    endpoint_id TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    leased_at BIGINT,
    order_key BIGINT,
    PRIMARY KEY (endpoint_id, due_at, sequence, id)
) @clustered@;
INSERT INTO waiting_clustered SELECT endpoint_id, due_at, sequence, id, tenant_id, attempts, tries, created_at, leased_at,
    order_key FROM waiting;
DROP TABLE waiting;
ALTER TABLE waiting_clustered RENAME TO waiting;
CREATE UNIQUE INDEX waiting_id ON waiting (id);
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
