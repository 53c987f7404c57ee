CREATE TABLE strategies (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    task_name   TEXT NOT NULL,
    subject     TEXT NOT NULL, -- hash of fields and output
    parent      INTEGER REFERENCES strategies (id),
    hash        TEXT NOT NULL, -- of strategy, model and the instruction that it was made for
    strategy    TEXT NOT NULL, -- JSON
    changes     TEXT NOT NULL, -- JSON: [text, ...]
    scores      TEXT,          -- JSON
    calls       INTEGER NOT NULL,
    usage       TEXT NOT NULL, -- JSON
    origin      TEXT NOT NULL,
    model       TEXT NOT NULL,
    made_for    TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    UNIQUE (task_name, subject, hash)
) STRICT;

-- The last row of a task that is not undone says what is live; no strategy is the task as written.
CREATE TABLE promotions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    task_name   TEXT NOT NULL,
    subject     TEXT NOT NULL,
    strategy    INTEGER REFERENCES strategies (id),
    at_ms       INTEGER NOT NULL,
    undone      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX promotions_by_task ON promotions (task_name, subject);

-- Finished calls of the optimiser, so that none is made twice.
CREATE TABLE optimizer_calls (
    key         TEXT PRIMARY KEY, -- hash of model, prompt, options and settings
    outcome     TEXT NOT NULL,    -- JSON: what the engine said, or why it did not
    usage       TEXT NOT NULL,    -- JSON
    created_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
