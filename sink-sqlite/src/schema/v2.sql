-- Schema version 2: cumulative streams that came by OTLP, so that a restart counts nothing twice.
CREATE TABLE stream_mark (
    stream BLOB PRIMARY KEY,        -- 16 bytes: a hash of all that tells the stream from others
    state TEXT NOT NULL,            -- its latest reading, as the receiver wrote it
    expires INTEGER NOT NULL        -- with the point that was counted from it
) STRICT, WITHOUT ROWID;

CREATE INDEX stream_mark_by_expires ON stream_mark (expires);
