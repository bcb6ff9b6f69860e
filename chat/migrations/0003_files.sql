-- Files beside the broadcasts, one row for each person who uploaded them.
CREATE TABLE file (
    broadcast TEXT NOT NULL REFERENCES room (broadcast),
    -- The name in the archive: a hash and an extension.
    id TEXT NOT NULL,
    person TEXT NOT NULL,
    -- For people.
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    size BIGINT NOT NULL,
    -- Unix milliseconds.
    uploaded BIGINT NOT NULL,
    -- 1 while a message names it, as far as is known.
    named BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (broadcast, id, person)
);

CREATE INDEX file_unnamed ON file (named, uploaded);
