-- Parts of logs on their way to endpoints. Changed only under the tenant's log.
CREATE TABLE replays (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    state BIGINT NOT NULL,
    at_sequence BIGINT NOT NULL,
    last_sequence BIGINT NOT NULL,
    deliveries BIGINT NOT NULL,
    finished_at BIGINT,
    message BYTEA NOT NULL
);
CREATE INDEX replays_running ON replays (id) WHERE state = 1;
CREATE INDEX replays_tenant ON replays (tenant_id, id);
CREATE INDEX replays_endpoint ON replays (endpoint_id);
