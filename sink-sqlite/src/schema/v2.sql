-- Schema version 2.

-- The latest state of cumulative streams that came by OTLP, so that a restart counts nothing twice.
CREATE TABLE stream_mark (
    stream BLOB PRIMARY KEY,        -- 16 bytes: a hash of all that identifies the stream
    state TEXT NOT NULL,            -- the latest reading, as the receiver wrote it
    expires INTEGER NOT NULL        -- when the point that was counted from it expires
) STRICT, WITHOUT ROWID;

CREATE INDEX stream_mark_by_expires ON stream_mark (expires);

-- Blocks have 8,192 spans, no longer 16,384. The spans of version 1 are indexed again in the background.
DELETE FROM posting;
DELETE FROM number;
DELETE FROM block;
INSERT INTO block SELECT id >> 13, max(start_time), 0 FROM span_row GROUP BY id >> 13;
