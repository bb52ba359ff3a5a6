-- Definitions of namespaces: packed CacheNamespace messages. `version` of the one row of namespaces_version rises
-- with every change.
CREATE TABLE namespaces (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    definition BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
CREATE TABLE namespaces_version (
    id BIGINT PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO namespaces_version (id, version) VALUES (1, 1);
