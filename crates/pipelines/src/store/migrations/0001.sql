-- Times are microseconds since the epoch, 0 for none. JSON is text. Only what PostgreSQL understands too.
CREATE TABLE spec (
    hash TEXT PRIMARY KEY,
    document TEXT NOT NULL
);
CREATE TABLE experiment (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    storage_state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_run_created_at BIGINT NOT NULL,
    UNIQUE (namespace, name)
);
CREATE INDEX experiment_by_time ON experiment (created_at, id);
CREATE TABLE pipeline (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (namespace, name)
);
CREATE INDEX pipeline_by_time ON pipeline (created_at, id);
CREATE TABLE pipeline_version (
    id TEXT PRIMARY KEY,
    pipeline_id TEXT NOT NULL REFERENCES pipeline (id),
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    code_source_url TEXT NOT NULL,
    package_url TEXT NOT NULL,
    spec_hash TEXT NOT NULL REFERENCES spec (hash),
    created_at BIGINT NOT NULL,
    UNIQUE (pipeline_id, name)
);
CREATE INDEX pipeline_version_by_time ON pipeline_version (pipeline_id, created_at, id);
-- Tags of pipelines and versions, by the owner's id.
CREATE TABLE tag (
    owner_id TEXT NOT NULL,
    tag_key TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    PRIMARY KEY (owner_id, tag_key)
);
CREATE TABLE run (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    experiment_id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    storage_state TEXT NOT NULL,
    state TEXT NOT NULL,
    state_history TEXT NOT NULL,
    error TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    scheduled_at BIGINT NOT NULL,
    finished_at BIGINT NOT NULL,
    pipeline_id TEXT NOT NULL,
    pipeline_version_id TEXT NOT NULL,
    recurring_run_id TEXT NOT NULL,
    spec_hash TEXT NOT NULL REFERENCES spec (hash),
    parameters TEXT NOT NULL,
    pipeline_root TEXT NOT NULL,
    service_account TEXT NOT NULL,
    plugins_input TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    shared_paths TEXT NOT NULL
);
CREATE INDEX run_by_time ON run (created_at, id);
CREATE INDEX run_by_experiment ON run (experiment_id, created_at, id);
CREATE INDEX run_by_name ON run (display_name, id);
CREATE INDEX run_by_state ON run (state, created_at, id);
CREATE INDEX run_by_spec ON run (spec_hash);
-- How many runs there are, so that a list of a million need not count them.
CREATE TABLE run_count (
    namespace TEXT NOT NULL,
    experiment_id TEXT NOT NULL,
    storage_state TEXT NOT NULL,
    runs BIGINT NOT NULL,
    PRIMARY KEY (namespace, experiment_id, storage_state)
);
CREATE TABLE task (
    id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES run (id),
    parent_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX task_by_run ON task (run_id, created_at, id);
CREATE TABLE artifact (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    uri TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX artifact_by_time ON artifact (created_at, id);
CREATE INDEX artifact_by_uri ON artifact (uri);
CREATE TABLE artifact_task (
    id TEXT PRIMARY KEY,
    artifact_id TEXT NOT NULL REFERENCES artifact (id),
    run_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    type TEXT NOT NULL,
    binding_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX artifact_task_by_artifact ON artifact_task (artifact_id);
CREATE INDEX artifact_task_by_task ON artifact_task (task_id);
CREATE INDEX artifact_task_by_run ON artifact_task (run_id);
CREATE TABLE cache (
    namespace TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    run_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (namespace, pipeline, fingerprint)
);
CREATE INDEX cache_by_run ON cache (run_id);
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    holder TEXT NOT NULL
);
