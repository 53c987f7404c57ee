CREATE TABLE examples (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    task        TEXT NOT NULL,
    input       TEXT NOT NULL, -- JSON object with the task's fields
    answer      TEXT NOT NULL,
    source      TEXT NOT NULL, -- JSON
    added_ms    INTEGER NOT NULL,
    UNIQUE (task, input)
) STRICT;

CREATE TABLE ensembles (
    hash        TEXT PRIMARY KEY,
    ensemble    TEXT NOT NULL -- JSON
) STRICT;

CREATE TABLE fits (
    key         TEXT PRIMARY KEY, -- hash of the task, the models and the labelled records
    ensemble    TEXT NOT NULL REFERENCES ensembles (hash),
    fitted_ms   INTEGER NOT NULL
) STRICT;
