//! Reads checked option values from YAML nodes and collects all problems.

use telemetry_core::{Entry, Key, KeyKind, Location, OptionError, OptionValue, Options};

use crate::environment::Environment;
use crate::expand::{expand_home, expand_variables};
use crate::problem::{Problem, excerpt, suggestion};
use crate::yaml::{Node, Position, Value};

/// Expands variables and checks values. Collects every problem instead of stopping at the first.
pub(crate) struct ValueReader<'a> {
    source: &'a str,
    secret_keys: Vec<&'a str>,
    pub environment: &'a dyn Environment,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// How scalars are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scalars {
    /// As a boolean, a number or text, by their form.
    Typed,
    /// As text, exactly as written: a token `0123` or `1e5` is not a number.
    AsWritten,
}

impl<'a> ValueReader<'a> {
    /// Creates a reader of the document `source`. The values of `secret_keys` are secret.
    pub(crate) fn new(source: &'a str, secret_keys: Vec<&'a str>, environment: &'a dyn Environment) -> Self {
        Self { source, secret_keys, environment, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Adds a problem at a position in the document.
    pub(crate) fn add_problem_at(&mut self, path: &str, position: Position, message: impl Into<String>) {
        self.add_problem(location(path, position), message.into());
    }

    /// Adds a problem at the place that a value comes from.
    pub(crate) fn add_problem(&mut self, location: Location, message: String) {
        let excerpt = match (location.line, location.column) {
            (Some(line), Some(column)) => excerpt(self.source, Position { line, column }, &self.secret_keys),
            _ => None,
        };
        let problem = Problem { location, message, excerpt };
        // Sinks that share a flat key would report the same problem several times.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Adds a problem about an unknown key.
    pub(crate) fn add_unknown_key<'k>(
        &mut self,
        path: &str,
        position: Position,
        key: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        self.add_problem_at(path, position, format!("unknown key `{key}`{}", suggestion(key, known)));
    }

    /// Reads an environment variable. An empty value counts as unset, as OpenTelemetry requires.
    pub(crate) fn variable(&mut self, name: &str) -> Option<Entry> {
        let location = Location { variable: Some(name.to_owned()), ..Location::default() };
        match self.environment.variable(name) {
            Ok(value) => {
                let text = value.filter(|text| !text.trim().is_empty())?;
                Some(Entry { value: OptionValue::Text(text), location })
            }
            Err(error) => {
                self.add_problem(location, error.to_string());
                None
            }
        }
    }

    /// Reads a node as text. Returns `None` if it is null, if the expansion of its variables is empty, or
    /// if a problem was added.
    pub(crate) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        let key = Key { name: "", kind: KeyKind::Text, flat: None, default: None, help: "" };
        match self.value(node, path, &key)?.value {
            OptionValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Reads a node as the value of `key`. Returns `None` if it is null or a problem was added.
    pub(crate) fn value(&mut self, node: &Node, path: &str, key: &Key) -> Option<Entry> {
        let scalars = match key.kind {
            KeyKind::Flag | KeyKind::Integer | KeyKind::Float | KeyKind::Size | KeyKind::Duration => {
                Scalars::Typed
            }
            // Texts, and kinds that are added later: the sink reads those itself.
            _ => Scalars::AsWritten,
        };
        let entry = self.convert(node, path, scalars)?;
        self.check(entry, key)
    }

    /// Returns the default value of `key`.
    pub(crate) fn default(&mut self, owner: &str, key: &Key) -> Option<Entry> {
        let text = key.default?;
        let node = Node { value: Value::Text(text.to_owned()), position: Position::default(), written: None };
        let path = format!("{owner}.{}", key.name);
        let mut entry = self.convert(&node, &path, Scalars::AsWritten)?;
        if let (OptionValue::Text(text), KeyKind::Flag | KeyKind::Integer | KeyKind::Float) =
            (&entry.value, key.kind)
        {
            entry.value = parse_scalar(text);
        }
        self.check(entry, key)
    }

    /// Expands `~` in a path and checks that the value is valid for the key.
    fn check(&mut self, mut entry: Entry, key: &Key) -> Option<Entry> {
        if entry.value == OptionValue::Null {
            return None;
        }
        if let (OptionValue::Text(path), KeyKind::Path) = (&entry.value, key.kind) {
            match expand_home(path, self.environment) {
                Ok(expanded) => entry.value = OptionValue::Text(expanded),
                Err(message) => {
                    self.add_problem(entry.location, message);
                    return None;
                }
            }
        }
        match check_kind(key, &entry) {
            Ok(()) => Some(entry),
            Err(OptionError { location, message }) => {
                self.add_problem(location, message);
                None
            }
        }
    }

    /// Expands the variables in a node. Returns `None` if a problem was added.
    fn convert(&mut self, node: &Node, path: &str, scalars: Scalars) -> Option<Entry> {
        let mut location = location(path, node.position);
        let as_written = |value: OptionValue| match (&node.written, scalars) {
            (Some(written), Scalars::AsWritten) => OptionValue::Text(written.clone()),
            _ => value,
        };
        let value = match &node.value {
            Value::Null => OptionValue::Null,
            Value::Flag(flag) => as_written(OptionValue::Flag(*flag)),
            Value::Integer(number) => as_written(OptionValue::Integer(*number)),
            Value::Float(number) => as_written(OptionValue::Float(*number)),
            Value::Text(text) => match expand_variables(text, self.environment) {
                Ok(None) => OptionValue::Text(text.clone()),
                Ok(Some(expanded)) => {
                    location.variable = expanded.variable;
                    match scalars {
                        Scalars::AsWritten if expanded.text.is_empty() => OptionValue::Null,
                        Scalars::AsWritten => OptionValue::Text(expanded.text),
                        Scalars::Typed => parse_scalar(&expanded.text),
                    }
                }
                Err(message) => {
                    self.add_problem(location, message);
                    return None;
                }
            },
            Value::List(items) => OptionValue::List(self.items(items, path, scalars)),
            Value::Map(entries) => {
                let mut pairs = Vec::with_capacity(entries.len());
                for (name, item) in entries {
                    let path = join(path, &name.text);
                    if let Some(entry) = self.convert(item, &path, scalars)
                        && !expanded_to_nothing(item, &entry)
                    {
                        pairs.push((name.text.clone(), entry));
                    }
                }
                OptionValue::Map(pairs)
            }
        };
        Some(Entry { value, location })
    }

    fn items(&mut self, items: &[Node], path: &str, scalars: Scalars) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Some(entry) = self.convert(item, &format!("{path}[{index}]"), scalars)
                && !expanded_to_nothing(item, &entry)
            {
                entries.push(entry);
            }
        }
        entries
    }

    /// Reads a map of options. Adds a problem for every unknown key and every invalid value.
    pub(crate) fn options(&mut self, node: &Node, path: &str, keys: &[Key]) -> Vec<(String, Entry)> {
        let entries = match &node.value {
            Value::Null => return Vec::new(),
            Value::Map(entries) => entries,
            other => {
                let message = format!("expected a map of options, found {}", other.type_name());
                self.add_problem_at(path, node.position, message);
                return Vec::new();
            }
        };
        let mut options = Vec::with_capacity(entries.len());
        for (name, node) in entries {
            let path = join(path, &name.text);
            match keys.iter().find(|key| key.name == name.text) {
                Some(key) => {
                    options.extend(self.value(node, &path, key).map(|entry| (name.text.clone(), entry)));
                }
                None => {
                    let known = keys.iter().map(|key| key.name);
                    self.add_unknown_key(&path, name.position, &name.text, known);
                }
            }
        }
        options
    }

    /// Adds the default of every key that is not in `options`.
    pub(crate) fn add_defaults(&mut self, owner: &str, options: &mut Vec<(String, Entry)>, keys: &[Key]) {
        for key in keys {
            if !options.iter().any(|(name, _)| name == key.name) {
                options.extend(self.default(owner, key).map(|entry| (key.name.to_owned(), entry)));
            }
        }
    }
}

/// Joins a path and a key: `telemetry[0].config` and `sinks` to `telemetry[0].config.sinks`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn location(path: &str, position: Position) -> Location {
    let known = |number: u32| (number > 0).then_some(number);
    Location {
        path: path.to_owned(),
        line: known(position.line),
        column: known(position.column),
        variable: None,
    }
}

/// Returns true if the expansion of an item is empty. The item is then left out of its list or map.
fn expanded_to_nothing(node: &Node, entry: &Entry) -> bool {
    entry.value == OptionValue::Null && node.value != Value::Null
}

/// Parses the expansion of a text as a boolean, a number or text.
fn parse_scalar(text: &str) -> OptionValue {
    if text.is_empty() {
        return OptionValue::Null;
    }
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return OptionValue::Flag(text.eq_ignore_ascii_case("true"));
    }
    if let Ok(number) = text.parse() {
        return OptionValue::Integer(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => OptionValue::Float(number),
        _ => OptionValue::Text(text.to_owned()),
    }
}

/// Reads the value as the sink will, so that problems are found before anything is started.
fn check_kind(key: &Key, entry: &Entry) -> Result<(), OptionError> {
    let options = Options::new(vec![(key.name.to_owned(), entry.clone())]);
    match key.kind {
        KeyKind::Text | KeyKind::Path => options.text(key.name).map(drop),
        KeyKind::Flag => options.flag(key.name).map(drop),
        KeyKind::Integer => options.integer::<i64>(key.name).map(drop),
        KeyKind::Float => options.float(key.name).map(drop),
        KeyKind::Size => options.size(key.name).map(drop),
        KeyKind::Duration => options.duration(key.name).map(drop),
        KeyKind::Choice(words) => {
            let words: Vec<(&str, ())> = words.iter().map(|word| (*word, ())).collect();
            options.choice(key.name, &words).map(drop)
        }
        KeyKind::List => options.list(key.name).map(drop),
        KeyKind::Map => options.map(key.name).map(drop),
        // A secret may have any form, and no message may show it. The sink checks kinds that are added later.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expanded_text_may_be_a_boolean_or_a_number() {
        for (text, value) in [
            ("", OptionValue::Null),
            ("true", OptionValue::Flag(true)),
            ("False", OptionValue::Flag(false)),
            ("42", OptionValue::Integer(42)),
            ("-1", OptionValue::Integer(-1)),
            ("0.5", OptionValue::Float(0.5)),
            ("inf", OptionValue::Text("inf".into())),
            ("10GiB", OptionValue::Text("10GiB".into())),
        ] {
            assert_eq!(parse_scalar(text), value, "{text}");
        }
    }
}
