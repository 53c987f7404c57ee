-- A collection is a schema of its own: its vectors have one length and an index of their own, and
-- one statement drops it.
CREATE TABLE facts (
    name text PRIMARY KEY,
    value text NOT NULL
);

-- What BM25 asks of all passages together. Every write changes the one row last, so that others
-- wait for it as long as a commit takes.
CREATE TABLE totals (
    passages bigint NOT NULL,
    words bigint NOT NULL
);
INSERT INTO totals VALUES (0, 0);

CREATE TABLE documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path text COLLATE "C" NOT NULL UNIQUE,
    format text NOT NULL,
    hash bytea NOT NULL,
    size_bytes bigint NOT NULL,
    modified_ns bigint
);

-- A vector belongs to a text: passages with the same text share it, and one that is read again
-- finds it.
CREATE TABLE vectors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    vector vector NOT NULL
);
-- Numbers do not become smaller by being packed, and a search reads all of them.
ALTER TABLE vectors ALTER COLUMN vector SET STORAGE MAIN;

-- Texts are bytes and what may hold any text is JSON: a text of PostgreSQL has no character 0.
-- `fields` are those of `meta` as filters compare them, `length` is the number of words.
CREATE TABLE passages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document bigint NOT NULL REFERENCES documents (id),
    titles text NOT NULL,
    record text,
    place text NOT NULL,
    language text NOT NULL,
    meta text,
    fields jsonb,
    tokens bigint NOT NULL,
    length bigint NOT NULL,
    vector bigint,
    text bytea NOT NULL
);
CREATE INDEX passages_of_document ON passages (document);
CREATE INDEX passages_of_vector ON passages (vector);

-- Which word is in which passage: how much it weighs there, and the passage's length, so that a
-- search reads nothing but the index. A word is known by eight bytes of its hash, for a table of
-- words would be one that all writers contend for.
CREATE TABLE words (
    word bigint NOT NULL,
    passage bigint NOT NULL,
    weight integer NOT NULL,
    length integer NOT NULL
);
CREATE INDEX words_by_word ON words (word, passage) INCLUDE (weight, length);
CREATE INDEX words_of_passage ON words (passage);
