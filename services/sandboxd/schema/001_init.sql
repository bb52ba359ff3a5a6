-- `message` holds what is only ever read with the row, as a packed message of the contract. `installed` is the
-- version in force, 0 for none.
CREATE TABLE plugins (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    shared BIGINT NOT NULL,
    disabled BIGINT NOT NULL,
    installed BIGINT NOT NULL,
    source_id TEXT,
    message BYTEA NOT NULL,
    UNIQUE (tenant_id, name)
);
CREATE INDEX plugins_of_tenant ON plugins (tenant_id, id);
CREATE INDEX plugins_shared ON plugins (id) WHERE shared = 1;
CREATE TABLE plugin_versions (
    plugin_id TEXT NOT NULL REFERENCES plugins (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    code BYTEA NOT NULL,
    message BYTEA NOT NULL,
    PRIMARY KEY (plugin_id, version)
);
-- One row a tenant that has runs, under whose lock its queue grows and shrinks. `turn` is when a run of it was last
-- claimed: the one that waits longest is next.
CREATE TABLE run_queues (
    tenant_id TEXT PRIMARY KEY,
    waiting BIGINT NOT NULL,
    turn BIGINT NOT NULL
);
-- Runs of both kinds: those that were waited for come when they have ended. States are those of RunState. A replica
-- that has claimed a run says so in `owner`, until `leased_until`; `token` rises with each claim, and what an older
-- one says of the run is not heeded. `work` is what a queued run needs, until it has ended.
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    state BIGINT NOT NULL,
    outcome BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    cpu_us BIGINT NOT NULL,
    wall_us BIGINT NOT NULL,
    memory_bytes BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    token BIGINT NOT NULL,
    owner TEXT,
    leased_until BIGINT,
    cancelled BIGINT NOT NULL,
    message BYTEA NOT NULL,
    log TEXT,
    result BYTEA,
    work BYTEA
);
CREATE INDEX runs_of_tenant ON runs (tenant_id, id);
CREATE INDEX runs_of_plugin ON runs (tenant_id, plugin_id, id);
CREATE INDEX runs_ended ON runs (tenant_id, ended_at) WHERE state = 3;
CREATE INDEX runs_waiting ON runs (tenant_id, id) WHERE state = 1;
CREATE INDEX runs_leased ON runs (leased_until) WHERE state = 2;
