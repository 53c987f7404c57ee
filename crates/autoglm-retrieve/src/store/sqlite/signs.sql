-- Clusters gave way to codes of a bit a number, all of which a search looks at.
DROP TABLE codes;
DROP TABLE centroids;
ALTER TABLE vectors DROP COLUMN cluster;
DELETE FROM facts WHERE name IN ('clusters', 'clustered');

-- The centre of the vectors that there were when codes were made; nothing where search is exact.
CREATE TABLE centre (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    vectors INTEGER NOT NULL,
    vector BLOB NOT NULL
);

-- Codes of vectors.
CREATE TABLE signs (
    vector INTEGER PRIMARY KEY,
    code BLOB NOT NULL
);
