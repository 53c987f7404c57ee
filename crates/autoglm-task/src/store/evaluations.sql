CREATE TABLE evaluations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    task_name  TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    run        INTEGER NOT NULL, -- that holds the answers; such a run may be gone
    source     TEXT NOT NULL,    -- the data's file
    data_hash  TEXT NOT NULL,    -- of the records and where their right answers stand
    gold_field TEXT,
    task_hash  TEXT NOT NULL,    -- of what determines the prompts
    model      TEXT NOT NULL,
    strategy   INTEGER,          -- none where the task was run as it is written
    taught     TEXT,             -- hash of the judge that labelled records had taught
    feedback   INTEGER NOT NULL, -- rows of feedback that took part
    rows       INTEGER NOT NULL, -- with a right answer
    report     TEXT NOT NULL     -- JSON
) STRICT;

CREATE INDEX evaluations_by_task ON evaluations (task_name, id);
