-- Schema version 3.

-- Per full block, the latest start of each 256 of its spans, so that the newest are looked at first: 32 numbers of 8
-- bytes, little-endian. In blocks of earlier versions it is null; they are indexed again in the background.
ALTER TABLE block ADD COLUMN starts BLOB;

-- The least and the largest number of each key of a row of `number`, so that most blocks need not be asked for theirs.
CREATE TABLE number_range (
    id INTEGER PRIMARY KEY,         -- block << 7 | shard
    data BLOB NOT NULL
) STRICT;
