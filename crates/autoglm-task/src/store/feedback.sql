CREATE TABLE feedback (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    task_name    TEXT NOT NULL,
    batch        INTEGER NOT NULL, -- what was given together
    at_ms        INTEGER NOT NULL,
    run          INTEGER,          -- of a stored record; such a run may be gone
    idx          INTEGER,
    input        TEXT NOT NULL,    -- JSON object
    opinion      TEXT,             -- JSON: [[label, probability], ...], what the model said
    given        TEXT,             -- what was answered
    judgement    TEXT NOT NULL,    -- JSON: the right label, or good or bad
    note         TEXT,
    pinned       INTEGER NOT NULL DEFAULT 0,
    withdrawn_ms INTEGER
) STRICT;

CREATE INDEX feedback_by_task ON feedback (task_name, id);

-- Vectors of the records, made when they are first needed; a space is a model's name.
CREATE TABLE feedback_vectors (
    feedback INTEGER NOT NULL REFERENCES feedback (id) ON DELETE CASCADE,
    space    TEXT NOT NULL,
    vector   BLOB NOT NULL,        -- 32-bit floats, the low byte first
    PRIMARY KEY (feedback, space)
) STRICT, WITHOUT ROWID;

-- JSON: which feedback took part in an answer, and what was answered without it.
ALTER TABLE records ADD COLUMN learnt TEXT;
