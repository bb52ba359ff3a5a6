-- Keys that were asked for most, of namespaces with an origin.
CREATE TABLE hot_keys (
    tenant_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    cache_key TEXT NOT NULL,
    gets BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, namespace, cache_key)
);
