//! The text of the views: `views.sql` with its shorthands replaced by SQL.

use telemetry_core::{Severity, SpanKind};

/// Returns the shorthands `$NAME(x)` of `views.sql`, each with the SQL it stands for. `#` is the argument.
fn shorthands() -> Vec<(&'static str, String)> {
    let words = |all: &[String]| {
        let cases: Vec<String> =
            all.iter().enumerate().map(|(code, word)| format!("WHEN {code} THEN '{word}'")).collect();
        format!("CASE # {} END", cases.join(" "))
    };
    let severities: Vec<String> = Severity::ALL.iter().map(|severity| severity.as_str().to_owned()).collect();
    let kinds: Vec<String> = SpanKind::ALL.iter().map(|kind| kind.as_str().to_uppercase()).collect();
    vec![
        // Division rounds toward zero, also before 1970. No intermediate result may exceed 64 bits.
        ("SECONDS", "(# / 1000000000 - (# % 1000000000 < 0))".to_owned()),
        ("NANOS", "(# % 1000000000 + 1000000000 * (# % 1000000000 < 0))".to_owned()),
        (
            "TIME",
            "CASE WHEN # IS NOT NULL THEN strftime('%Y-%m-%dT%H:%M:%S', $SECONDS(#), 'unixepoch') || \
             CASE WHEN $NANOS(#) = 0 THEN '' \
             WHEN $NANOS(#) % 1000 = 0 THEN printf('.%06d', $NANOS(#) / 1000) \
             ELSE printf('.%09d', $NANOS(#)) END || '+00:00' END"
                .to_owned(),
        ),
        ("STATUS", "CASE # WHEN 0 THEN 'OK' WHEN 1 THEN 'ERROR' ELSE 'UNSET' END".to_owned()),
        ("KIND", words(&kinds)),
        ("SEVERITY", words(&severities)),
        // The fewest digits that read back as the same number.
        (
            "NUMBER",
            "CASE WHEN typeof(#) = 'integer' THEN # \
             WHEN CAST(printf('%!.15g', #) AS REAL) = # THEN printf('%!.15g', #) \
             ELSE printf('%!.17g', #) END"
                .to_owned(),
        ),
        // The root of a trace in which every span has a parent: the earliest span whose parent is not in the trace, else
        // the earliest span.
        (
            "ROOT",
            "(SELECT r.# FROM (SELECT c.*, CASE WHEN c.parent IS NULL THEN 0 \
             WHEN EXISTS (SELECT 1 FROM span_row p WHERE p.trace = c.trace AND p.span_id = c.parent) \
             OR EXISTS (SELECT 1 FROM span_open p WHERE p.trace = c.trace AND p.span_id = c.parent) \
             THEN 2 ELSE 1 END AS place FROM (\
             SELECT trace, span_id, parent, start_time, service FROM span_row WHERE trace = t.id UNION ALL \
             SELECT trace, span_id, parent, start_time, service FROM span_open WHERE trace = t.id) c) r \
             ORDER BY r.place, r.start_time, r.span_id < 0, r.span_id LIMIT 1)"
                .to_owned(),
        ),
    ]
}

const NOW: &str = "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000000 + \
                   CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000000)";

/// Drops the views that exist.
pub(super) const DROP: &str = "DROP VIEW IF EXISTS traces; DROP VIEW IF EXISTS spans; \
     DROP VIEW IF EXISTS span_events; DROP VIEW IF EXISTS logs; DROP VIEW IF EXISTS metrics;";

/// Returns the statements of [`sql`] as SQLite stores them.
pub(super) fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(';').filter_map(|statement| statement.find("CREATE VIEW").map(|start| &statement[start..]))
}

/// Returns the statements that create the views.
pub(super) fn sql() -> String {
    let mut text = include_str!("views.sql").replace("$NOW", NOW);
    let shorthands = shorthands();
    while let Some((at, name, meaning)) = next_shorthand(&text, &shorthands) {
        let open = at + 1 + name.len();
        let close = closing_parenthesis(&text, open);
        let argument = text[open + 1..close].to_owned();
        text.replace_range(at..=close, &meaning.replace('#', &argument));
    }
    text
}

/// Returns a shorthand that the text contains, with its index.
fn next_shorthand<'a>(
    text: &str,
    shorthands: &'a [(&'static str, String)],
) -> Option<(usize, &'a str, &'a str)> {
    shorthands
        .iter()
        .find_map(|(name, meaning)| text.find(&format!("${name}(")).map(|at| (at, *name, meaning.as_str())))
}

/// Returns the index of the parenthesis that closes the one at `open`.
fn closing_parenthesis(text: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return at,
            b')' => depth -= 1,
            _ => {}
        }
    }
    text.len() - 1
}
