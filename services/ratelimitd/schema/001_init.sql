-- Definitions of limits; `version` has one row, which rises with every change.
CREATE TABLE limits (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    level BIGINT NOT NULL,
    subject TEXT NOT NULL,
    strategy BIGINT NOT NULL,
    limit_units BIGINT NOT NULL,
    window_ms BIGINT NOT NULL,
    burst BIGINT,
    on_failure BIGINT NOT NULL,
    shadow BIGINT NOT NULL,
    floor_units BIGINT,
    ceiling_units BIGINT,
    latency_ms BIGINT,
    backoff_permille BIGINT,
    recover_permille BIGINT,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (tenant_id, name, level, subject)
);
CREATE TABLE limits_version (
    id BIGINT PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO limits_version (id, version) VALUES (1, 1);
-- Counters of the memory store whose window is an hour or more.
CREATE TABLE counters (
    key_high BIGINT NOT NULL,
    key_low BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (key_high, key_low)
);
CREATE INDEX counters_expiry ON counters (expires_us);
