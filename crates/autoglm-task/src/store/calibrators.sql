CREATE TABLE calibrators (
    task_name   TEXT NOT NULL,
    basis       TEXT NOT NULL, -- hash of all that confidences depend on
    fitted      TEXT NOT NULL, -- JSON
    created_ms  INTEGER NOT NULL,
    PRIMARY KEY (task_name, basis)
) STRICT;
