CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    format TEXT NOT NULL,
    hash BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_ns INTEGER
);

-- Numbers are never given twice, so that what refers to a passage that is gone refers to none.
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id),
    titles TEXT NOT NULL,
    record TEXT,
    place TEXT NOT NULL,
    language TEXT NOT NULL,
    meta TEXT,
    tokens INTEGER NOT NULL,
    vector INTEGER,
    text TEXT NOT NULL
);
CREATE INDEX passages_of_document ON passages (document);
CREATE INDEX passages_of_vector ON passages (vector);

-- A vector belongs to a text: passages with the same text share it, and one that is read again
-- finds it. `cluster` is set where vectors are sorted for approximate search.
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    cluster INTEGER,
    vector BLOB NOT NULL
);

-- Vectors that no passage may have any more, or not yet.
CREATE TABLE loose (
    vector INTEGER PRIMARY KEY
);

-- The words of passages by their numbers; the text itself stands in `passages` alone.
CREATE VIRTUAL TABLE words USING fts5 (
    titles, text,
    content = '', contentless_delete = 1,
    tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TABLE centroids (
    id INTEGER PRIMARY KEY,
    vector BLOB NOT NULL
);

-- Vectors in 8 bits a number, those of a cluster beside each other.
CREATE TABLE codes (
    cluster INTEGER NOT NULL,
    vector INTEGER NOT NULL,
    code BLOB NOT NULL,
    PRIMARY KEY (cluster, vector)
) WITHOUT ROWID;
