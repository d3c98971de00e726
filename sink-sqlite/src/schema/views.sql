-- The SQL interface: the reference's tables as views, and `logs` and `metrics` beside them.
-- They show no expired data. SQLite 3.40 and later can read them.

CREATE VIEW traces AS
SELECT
    lower(hex(t.trace_id)) AS trace_id,
    (SELECT name FROM service WHERE id = coalesce(
        CASE WHEN t.root IS NOT NULL THEN t.service END,
        $ROOT(service)
    )) AS service_name,
    printf('%016x', coalesce(t.root, $ROOT(span_id))) AS root_span_id,
    $TIME(t.start_time) AS start_time,
    $TIME(t.end_time) AS end_time,
    strftime('%Y-%m-%d %H:%M:%S', $SECONDS(t.created), 'unixepoch') AS created_at
FROM trace t
WHERE t.expires > $NOW AND t.start_time IS NOT NULL;

CREATE VIEW spans AS
SELECT
    printf('%016x', s.span_id) AS span_id,
    lower(hex(t.trace_id)) AS trace_id,
    CASE WHEN s.parent IS NOT NULL THEN printf('%016x', s.parent) END AS parent_span_id,
    s.name AS name,
    $TIME(s.start_time) AS start_time,
    $TIME(s.end_time) AS end_time,
    s.attributes AS attributes,
    $STATUS(s.status) AS status,
    $KIND(s.kind) AS kind
FROM trace t JOIN span_row s ON s.trace = t.id
WHERE t.expires > $NOW
UNION ALL
SELECT
    printf('%016x', s.span_id),
    lower(hex(t.trace_id)),
    CASE WHEN s.parent IS NOT NULL THEN printf('%016x', s.parent) END,
    s.name,
    $TIME(s.start_time),
    $TIME(s.end_time),
    s.attributes,
    $STATUS(s.status),
    $KIND(s.kind)
FROM trace t JOIN span_open s ON s.trace = t.id
WHERE t.expires > $NOW;

CREATE VIEW span_events AS
SELECT
    l.id AS id,
    CASE WHEN l.span_id IS NOT NULL THEN printf('%016x', l.span_id) END AS span_id,
    CASE WHEN l.severity IS NULL THEN l.body ELSE 'unstructured_log' END AS name,
    $TIME(l.time) AS timestamp,
    CASE WHEN l.severity IS NULL THEN l.attributes
        ELSE json_set(l.attributes, '$.message', l.body, '$.severity', $SEVERITY(l.severity))
    END AS attributes
FROM log_row l LEFT JOIN trace t ON t.id = l.trace
WHERE coalesce(l.expires, t.expires) > $NOW
UNION ALL
SELECT
    p.id,
    CASE WHEN p.span_id IS NOT NULL THEN printf('%016x', p.span_id) END,
    'metric.' || m.name,
    $TIME(p.time),
    json_set(m.labels, '$.value', json($NUMBER(p.value)), '$.unit', m.unit)
FROM metric_point p JOIN metric_series m ON m.id = p.series LEFT JOIN trace t ON t.id = p.trace
WHERE coalesce(t.expires, p.expires) > $NOW;

-- Two parts, so that an index finds the logs of a trace.
CREATE VIEW logs AS
SELECT
    l.id AS id,
    lower(hex(t.trace_id)) AS trace_id,
    CASE WHEN l.span_id IS NOT NULL THEN printf('%016x', l.span_id) END AS span_id,
    $TIME(l.time) AS timestamp,
    $SEVERITY(l.severity) AS severity,
    l.body AS message,
    l.attributes AS attributes,
    (SELECT name FROM service WHERE id = l.service) AS service_name
FROM trace t JOIN log_row l ON l.trace = t.id
WHERE t.expires > $NOW
UNION ALL
SELECT
    l.id,
    NULL,
    NULL,
    $TIME(l.time),
    $SEVERITY(l.severity),
    l.body,
    l.attributes,
    (SELECT name FROM service WHERE id = l.service)
FROM log_row l
WHERE l.trace IS NULL AND l.expires > $NOW;

CREATE VIEW metrics AS
SELECT
    p.id AS id,
    m.canonical AS metric,
    m.unit AS unit,
    m.labels AS labels,
    $TIME(p.time) AS timestamp,
    p.value AS value,
    lower(hex(t.trace_id)) AS trace_id,
    CASE WHEN p.span_id IS NOT NULL THEN printf('%016x', p.span_id) END AS span_id,
    (SELECT name FROM service WHERE id = m.service) AS service_name
FROM trace t JOIN metric_point p ON p.trace = t.id JOIN metric_series m ON m.id = p.series
WHERE t.expires > $NOW
UNION ALL
SELECT
    p.id,
    m.canonical,
    m.unit,
    m.labels,
    $TIME(p.time),
    p.value,
    NULL,
    NULL,
    (SELECT name FROM service WHERE id = m.service)
FROM metric_point p JOIN metric_series m ON m.id = p.series
WHERE p.trace IS NULL AND p.expires > $NOW;
