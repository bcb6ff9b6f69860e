-- The record of the rooms. Plain SQL that SQLite and PostgreSQL both read.

CREATE TABLE room (
    broadcast TEXT NOT NULL PRIMARY KEY,
    -- Tells one life of the room's numbering from another: a lost record gets a new epoch.
    epoch TEXT NOT NULL,
    -- 1 once the broadcast has ended and every replay chunk has been sealed.
    ended INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE event (
    broadcast TEXT NOT NULL REFERENCES room (broadcast),
    seq BIGINT NOT NULL,
    -- 90 kHz ticks from the origin, and how we know (playhead, clamped, server).
    at BIGINT NOT NULL,
    at_source TEXT NOT NULL,
    -- Unix milliseconds.
    sent BIGINT NOT NULL,
    author_id TEXT NOT NULL,
    author_name TEXT NOT NULL,
    author_role TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- Null in a delete, and in a text that was deleted.
    body TEXT,
    -- The seq of the text that a delete deletes.
    target BIGINT,
    -- The name its writer gave it, to know a resend by.
    ref TEXT NOT NULL,
    PRIMARY KEY (broadcast, seq)
);

CREATE INDEX event_by_position ON event (broadcast, at, seq);

-- Where the replay stands: a window of media time is behind while `touched` is greater than `sealed`.
CREATE TABLE chunk (
    broadcast TEXT NOT NULL REFERENCES room (broadcast),
    n BIGINT NOT NULL,
    -- The last event that changed what the window holds.
    touched BIGINT NOT NULL,
    -- The last event that the object in the archive knows of; 0 before the first.
    sealed BIGINT NOT NULL DEFAULT 0,
    -- The object in the archive; null where there is none.
    name TEXT,
    texts BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (broadcast, n)
);
