-- Endpoints that are gone, whose deliveries and attempts are being deleted; and where to look for those that are
-- disabled while something waits for them.
CREATE TABLE forgettings (
    endpoint_id TEXT PRIMARY KEY
);
CREATE INDEX endpoints_disabled ON endpoints (id) WHERE disabled <> 0;
