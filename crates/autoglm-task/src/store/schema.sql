CREATE TABLE runs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    task_name   TEXT NOT NULL,
    run_key     TEXT NOT NULL, -- JSON
    spec        TEXT NOT NULL, -- JSON
    prior       TEXT,          -- JSON
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    status      TEXT NOT NULL, -- JSON
    records     INTEGER NOT NULL DEFAULT 0,
    errors      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE records (
    run               INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    idx               INTEGER NOT NULL,
    line              INTEGER NOT NULL,
    input             TEXT, -- JSON object
    prompt_hash       TEXT,
    raw               TEXT, -- JSON: what the engine said
    answer            TEXT,
    confidence        REAL,
    distribution      TEXT, -- JSON: [[label, probability], ...]
    calibration       TEXT, -- JSON
    error             TEXT,
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    compute_us        INTEGER NOT NULL,
    PRIMARY KEY (run, idx)
) STRICT, WITHOUT ROWID;
