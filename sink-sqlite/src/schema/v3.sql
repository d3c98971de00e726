-- Schema version 3.

-- Per full block, the latest start of each 256 of its spans, so that queries read the newest first: 32 numbers of 8
-- bytes, little-endian. Null in blocks of earlier versions, which are indexed again in the background.
ALTER TABLE block ADD COLUMN starts BLOB;

-- The least and the largest number of each key of a row of `number`, so that queries read few rows of `number`.
CREATE TABLE number_range (
    id INTEGER PRIMARY KEY,         -- block << 7 | shard
    data BLOB NOT NULL
) STRICT;
