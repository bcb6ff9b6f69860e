-- Modes, questions, polls, moderation. What an event says beside its body is JSON; who gets it is its audience.

-- everyone, staff, person (staff and `person`), nobody.
ALTER TABLE event ADD COLUMN audience TEXT NOT NULL DEFAULT 'everyone';
ALTER TABLE event ADD COLUMN person TEXT;
ALTER TABLE event ADD COLUMN data TEXT NOT NULL DEFAULT '{}';
-- 1 where it changes how the room stands.
ALTER TABLE event ADD COLUMN stands BIGINT NOT NULL DEFAULT 0;

UPDATE event SET stands = 1 WHERE kind = 'delete';

CREATE INDEX event_that_stands ON event (broadcast, stands, at, seq);
CREATE INDEX event_by_author ON event (broadcast, author_id);

-- Unix milliseconds; for how long it is kept.
ALTER TABLE room ADD COLUMN ended_at BIGINT;

-- Who did what to whom. Never a body: it outlives an erasure.
CREATE TABLE audit (
    broadcast TEXT NOT NULL REFERENCES room (broadcast),
    -- The event that did it.
    seq BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    -- SHA-256 of the body it was about.
    hash TEXT,
    PRIMARY KEY (broadcast, seq, action)
);
