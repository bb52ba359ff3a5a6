-- Headers of a namespace's origin, sealed; null when there are none.
ALTER TABLE namespaces ADD COLUMN origin_headers BYTEA;
