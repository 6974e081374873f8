-- What replicas ask of the one that drives the runs; the answer is empty until there is one.
CREATE TABLE request (
    id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    verb TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX request_by_time ON request (created_at, id);
