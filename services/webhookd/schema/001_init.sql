-- One row a tenant. Whoever makes the log longer, or changes endpoints, holds it locked until the commit: so
-- sequences have no gaps, readers see them in order, and an event goes to the endpoints of its moment.
CREATE TABLE logs (
    tenant_id TEXT PRIMARY KEY,
    last_sequence BIGINT NOT NULL,
    first_sequence BIGINT NOT NULL,
    endpoints_version BIGINT NOT NULL
);
-- `message` holds what is only ever read with the row, as a packed message of the contract.
CREATE TABLE events (
    tenant_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT,
    recorded_at BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    message BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);
CREATE UNIQUE INDEX events_id ON events (tenant_id, id);
CREATE INDEX events_age ON events (recorded_at);
-- A replica that delivers to an endpoint owns it until owner_until; owner_token fences off those that owned
-- it before. Nothing is due before next_at.
CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    owner TEXT NOT NULL,
    owner_token BIGINT NOT NULL,
    owner_until BIGINT NOT NULL,
    failing_since BIGINT,
    secret BYTEA NOT NULL,
    previous_secret BYTEA,
    previous_until BIGINT,
    version BIGINT NOT NULL,
    message BYTEA NOT NULL
);
CREATE INDEX endpoints_due ON endpoints (next_at);
CREATE INDEX endpoints_tenant ON endpoints (tenant_id, id);
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    state BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, state, due_at, sequence);
CREATE INDEX deliveries_tenant ON deliveries (tenant_id, id);
CREATE INDEX deliveries_event ON deliveries (tenant_id, event_id);
CREATE INDEX deliveries_age ON deliveries (created_at);
CREATE TABLE attempts (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    endpoint_id TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    message BYTEA NOT NULL,
    PRIMARY KEY (delivery_id, number)
);
CREATE INDEX attempts_endpoint ON attempts (endpoint_id, started_at);
-- Types that tenants registered. Each change takes the next number of the one row of type_changes, under its
-- lock, so that replicas which ask for what is newer than the last they saw miss nothing.
CREATE TABLE type_changes (
    id BIGINT PRIMARY KEY,
    last BIGINT NOT NULL
);
INSERT INTO type_changes (id, last) VALUES (1, 0);
CREATE TABLE event_types (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    change BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    message BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
CREATE INDEX event_types_change ON event_types (change);
