CREATE TABLE meanings (
    id INTEGER PRIMARY KEY,
    -- Everything but the question that an answer depends on, hashed; and what questions must share.
    context BLOB NOT NULL,
    signature BLOB NOT NULL,
    words BLOB NOT NULL,
    vector BLOB NOT NULL,
    answer TEXT NOT NULL,
    observations TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    used INTEGER NOT NULL
);
CREATE INDEX meanings_by_context ON meanings (context, signature);
CREATE INDEX meanings_by_use ON meanings (used);
