-- Schema version 2.

-- Cumulative streams that came by OTLP, so that a restart counts nothing twice.
CREATE TABLE stream_mark (
    stream BLOB PRIMARY KEY,        -- 16 bytes: a hash of all that tells the stream from others
    state TEXT NOT NULL,            -- its latest reading, as the receiver wrote it
    expires INTEGER NOT NULL        -- with the point that was counted from it
) STRICT, WITHOUT ROWID;

CREATE INDEX stream_mark_by_expires ON stream_mark (expires);

-- Blocks are of 8,192 spans, no longer of 16,384. Those of version 1 are looked through whole until they expire.
DELETE FROM posting;
DELETE FROM number;
DELETE FROM block;
INSERT INTO block SELECT id >> 13, max(start_time), 0 FROM span_row GROUP BY id >> 13;
