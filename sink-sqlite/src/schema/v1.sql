-- Tables of schema version 1. Times are nanoseconds since 1970. Ids of spans are 64 bits, read as a signed integer.
-- Numbers of kinds, states, statuses and severities are those of rows/values.rs.

-- One row: the latest batch and the next ids. No id is used twice, not even after a deletion.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    run INTEGER NOT NULL,           -- the run whose batch was stored last
    batch INTEGER NOT NULL,         -- the number of that batch: a batch that comes again is not stored again
    next_trace INTEGER NOT NULL,
    next_span INTEGER NOT NULL,
    next_event INTEGER NOT NULL
) STRICT;

INSERT INTO meta VALUES (1, 0, 0, 1, 0, 1);

CREATE TABLE service (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    local INTEGER NOT NULL,         -- 1: the service of the program that wrote the row
    UNIQUE (name, local)
) STRICT;

CREATE TABLE trace (
    id INTEGER PRIMARY KEY,
    trace_id BLOB NOT NULL,         -- 16 bytes
    start_time INTEGER,             -- the earliest start; null without a span
    end_time INTEGER,               -- the latest end
    expires INTEGER NOT NULL,       -- the latest expiry of all that belongs to it
    created INTEGER NOT NULL,       -- when its first event arrived
    root INTEGER,                   -- the earliest span without a parent; null: queries find the root
    root_start INTEGER,
    service INTEGER                 -- of that root
) STRICT;

-- On the text form, so that queries of the views use the index.
CREATE UNIQUE INDEX trace_by_id ON trace (lower(hex(trace_id)));
CREATE INDEX trace_by_start ON trace (start_time) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_expires ON trace (expires);

-- Finished spans. They are added and deleted, never changed.
CREATE TABLE span_row (
    id INTEGER PRIMARY KEY,         -- a range of ids is a block, see postings/
    trace INTEGER NOT NULL,
    span_id INTEGER NOT NULL,
    parent INTEGER,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    service INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    end_time INTEGER,
    status INTEGER,
    attributes TEXT NOT NULL,
    lag INTEGER NOT NULL,           -- arrival minus start
    ttl INTEGER NOT NULL,           -- seconds from arrival
    extra TEXT,                     -- what only few spans have, as JSON, see rows/spans.rs
    UNIQUE (trace, span_id)
) STRICT;

-- Incomplete spans: they run, or their start or end is missing.
CREATE TABLE span_open (
    trace INTEGER NOT NULL,
    span_id INTEGER NOT NULL,
    parent INTEGER,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    service INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    end_time INTEGER,
    status INTEGER,
    attributes TEXT NOT NULL,
    lag INTEGER NOT NULL,
    ttl INTEGER NOT NULL,
    extra TEXT,
    state INTEGER NOT NULL,
    submitted BLOB,                 -- the trace id that its events carried, if it was a different one
    PRIMARY KEY (trace, span_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX span_open_by_submitted ON span_open (submitted, span_id) WHERE submitted IS NOT NULL;

-- Ends that wait for their start, by the ids that they carried.
CREATE TABLE end_waiting (
    trace_id BLOB NOT NULL,
    span_id INTEGER NOT NULL,
    end_time INTEGER NOT NULL,
    status INTEGER NOT NULL,
    attributes TEXT NOT NULL,
    arrived INTEGER NOT NULL,
    ttl INTEGER NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) STRICT, WITHOUT ROWID;

-- Log lines, and span events that came by OTLP.
CREATE TABLE log_row (
    id INTEGER PRIMARY KEY,         -- in order of arrival, counted together with metric points
    trace INTEGER,
    span_id INTEGER,
    time INTEGER NOT NULL,
    severity INTEGER,               -- null: a span event, whose name is the body
    body TEXT NOT NULL,
    attributes TEXT NOT NULL,
    service INTEGER NOT NULL,
    lag INTEGER NOT NULL,           -- arrival minus time
    ttl INTEGER NOT NULL,
    expires INTEGER                 -- only without a trace: else the log expires with the trace
) STRICT;

CREATE INDEX log_by_trace ON log_row (trace) WHERE trace IS NOT NULL;
CREATE INDEX log_by_time ON log_row (time);
CREATE INDEX log_by_expires ON log_row (expires) WHERE expires IS NOT NULL;

CREATE TABLE metric_series (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,       -- hash of all other columns that identify the series
    name TEXT NOT NULL,             -- as logged
    canonical TEXT NOT NULL,        -- the name in queries
    unit TEXT NOT NULL,
    kind INTEGER,                   -- as the event named it
    floats INTEGER NOT NULL,        -- 1: its first value was a float
    labels TEXT NOT NULL,
    service INTEGER NOT NULL
) STRICT;

CREATE INDEX metric_series_by_name ON metric_series (canonical);

CREATE TABLE metric_point (
    series INTEGER NOT NULL,
    time INTEGER NOT NULL,
    id INTEGER NOT NULL,            -- in order of arrival, counted together with logs
    value ANY NOT NULL,             -- an integer or a float, as logged
    expires INTEGER NOT NULL,
    trace INTEGER,
    span_id INTEGER,
    lag INTEGER NOT NULL,
    ttl INTEGER NOT NULL,
    PRIMARY KEY (series, time, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX metric_by_trace ON metric_point (trace) WHERE trace IS NOT NULL;
CREATE INDEX metric_by_expires ON metric_point (expires) WHERE trace IS NULL;

-- Blocks of finished spans, and which of their spans may have an attribute: see postings/.
CREATE TABLE block (
    id INTEGER PRIMARY KEY,         -- span_row.id divided by the size of a block
    newest INTEGER NOT NULL,        -- the latest start of its spans
    sealed INTEGER NOT NULL         -- what its postings contain, see postings/block.rs
) STRICT;

CREATE TABLE posting (
    id INTEGER PRIMARY KEY,         -- block << 7 | shard
    data BLOB NOT NULL
) STRICT;

CREATE TABLE number (
    id INTEGER PRIMARY KEY,         -- block << 7 | shard
    data BLOB NOT NULL
) STRICT;
