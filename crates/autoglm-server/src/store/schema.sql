CREATE TABLE answers (
    key BLOB PRIMARY KEY,
    answer TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_by_use ON answers (used);
CREATE TABLE responses (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    response TEXT NOT NULL,
    conversation TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX responses_by_use ON responses (used);
