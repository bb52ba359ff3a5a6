-- Messages to people, one for each recipient, as they are sent. Waiting (state 1) until an SMTP server took it over (2)
-- or it was given up (3). Whoever sends one has moved its due_at to the end of his lease; `tries` tells his lease
-- from later ones. Those that are over stay for a day: they count for what a tenant may cause in that time.
CREATE TABLE mails (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    recipient TEXT NOT NULL,
    message TEXT NOT NULL,
    state BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL
);
CREATE INDEX mails_due ON mails (due_at) WHERE state = 1;
CREATE INDEX mails_tenant ON mails (tenant_id, created_at);
