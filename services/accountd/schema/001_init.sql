-- `message` holds what is only ever read with the row, as a packed message of the contract.
CREATE TABLE plans (
    name TEXT PRIMARY KEY,
    message BYTEA NOT NULL
);
CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    suspended BIGINT NOT NULL,
    plan TEXT NOT NULL REFERENCES plans (name),
    plan_since BIGINT NOT NULL,
    message BYTEA NOT NULL
);
CREATE INDEX tenants_plan ON tenants (plan);
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    email TEXT NOT NULL,
    message BYTEA NOT NULL,
    UNIQUE (tenant_id, email)
);
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    public_id TEXT NOT NULL UNIQUE,
    pepper TEXT NOT NULL,
    digest BYTEA NOT NULL,
    state BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT,
    user_id TEXT,
    message BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id);
CREATE TABLE usage_days (
    tenant_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    day TEXT NOT NULL,
    calls BIGINT NOT NULL,
    limited BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key_id, day)
);
-- The last report taken from each ingress, so that one that arrives twice counts once.
CREATE TABLE usage_reports (
    node TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    number BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (node, epoch)
);
