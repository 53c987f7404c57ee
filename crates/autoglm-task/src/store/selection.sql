ALTER TABLE records ADD COLUMN examples TEXT; -- JSON: the examples that were chosen for the record

-- Vectors of labelled records, made when they are first needed; a space is a model's name.
CREATE TABLE example_vectors (
    task     TEXT NOT NULL,
    space    TEXT NOT NULL,
    record   TEXT NOT NULL, -- hash of the record
    vector   BLOB NOT NULL, -- 32-bit floats, the low byte first
    PRIMARY KEY (task, space, record)
) STRICT, WITHOUT ROWID;
