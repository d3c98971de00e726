-- Schema version 4. Indexes for look-ups that read whole tables before.

-- Spans by their id alone, when a client asks for a tree without a trace id.
CREATE INDEX span_open_by_span_id ON span_open (span_id);
-- Ends that waited until they expired.
CREATE INDEX end_waiting_by_expires ON end_waiting (arrived + ttl * 1000000000);

-- Earlier versions kept series whose points had expired.
DELETE FROM metric_series WHERE NOT EXISTS (SELECT 1 FROM metric_point p WHERE p.series = metric_series.id);
