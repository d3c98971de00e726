//! From nodes of the document to checked options.

use telemetry_core::{Entry, Key, KeyKind, Location, OptionError, OptionValue, Options};

use crate::environment::Environment;
use crate::error::Problem;
use crate::excerpt::excerpt;
use crate::substitution::{expand_home, substitute};
use crate::suggestion::suggestion;
use crate::yaml::{Node, Position, Value};

/// Resolves variables, checks values, and notes every problem instead of stopping at the first.
pub(crate) struct Resolver<'a> {
    source: &'a str,
    secret_keys: Vec<&'a str>,
    pub environment: &'a dyn Environment,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// How scalars are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scalars {
    /// As what they look like.
    Typed,
    /// As they are written: a token `0123` or `1e5` is no number.
    AsWritten,
}

impl<'a> Resolver<'a> {
    /// A resolver of the document `source`, in which these keys hold secrets.
    pub(crate) fn new(source: &'a str, secret_keys: Vec<&'a str>, environment: &'a dyn Environment) -> Self {
        Self { source, secret_keys, environment, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Notes a problem of the document.
    pub(crate) fn problem(&mut self, path: &str, position: Position, message: impl Into<String>) {
        self.note(location(path, position), message.into());
    }

    /// Notes a problem at the place a value came from.
    pub(crate) fn note(&mut self, location: Location, message: String) {
        let excerpt = match (location.line, location.column) {
            (Some(line), Some(column)) => excerpt(self.source, Position { line, column }, &self.secret_keys),
            _ => None,
        };
        let problem = Problem { location, message, excerpt };
        // Three sinks share one flat key; its problem is one.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Notes a key that nobody knows.
    pub(crate) fn unknown<'k>(
        &mut self,
        path: &str,
        position: Position,
        key: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        self.problem(path, position, format!("unknown key `{key}`{}", suggestion(key, known)));
    }

    /// A variable of the environment; empty counts as unset, as OpenTelemetry says.
    pub(crate) fn variable(&mut self, name: &str) -> Option<Entry> {
        let location = Location { variable: Some(name.to_owned()), ..Location::default() };
        match self.environment.variable(name) {
            Ok(value) => {
                let text = value.filter(|text| !text.trim().is_empty())?;
                Some(Entry { value: OptionValue::Text(text), location })
            }
            Err(error) => {
                self.note(location, error.to_string());
                None
            }
        }
    }

    /// The text of a node that must be a text; `None` when it is null or, after a substitution,
    /// empty, or when a problem was noted.
    pub(crate) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        let key = Key { name: "", kind: KeyKind::Text, flat: None, default: None, help: "" };
        match self.value(node, path, &key)?.value {
            OptionValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The checked value of `key` in a node; `None` when it is null or a problem was noted.
    pub(crate) fn value(&mut self, node: &Node, path: &str, key: &Key) -> Option<Entry> {
        let scalars = match key.kind {
            KeyKind::Flag | KeyKind::Integer | KeyKind::Float | KeyKind::Size | KeyKind::Duration => {
                Scalars::Typed
            }
            // Texts, and whatever core adds: the sink reads those itself.
            _ => Scalars::AsWritten,
        };
        let entry = self.convert(node, path, scalars)?;
        self.finish(entry, key)
    }

    /// The value of `key` when the configuration has none.
    pub(crate) fn default(&mut self, owner: &str, key: &Key) -> Option<Entry> {
        let text = key.default?;
        let node = Node { value: Value::Text(text.to_owned()), position: Position::default(), written: None };
        let path = format!("{owner}.{}", key.name);
        let mut entry = self.convert(&node, &path, Scalars::AsWritten)?;
        if let (OptionValue::Text(text), KeyKind::Flag | KeyKind::Integer | KeyKind::Float) =
            (&entry.value, key.kind)
        {
            entry.value = typed(text);
        }
        self.finish(entry, key)
    }

    /// Expands `~` in paths and checks the value against the key.
    fn finish(&mut self, mut entry: Entry, key: &Key) -> Option<Entry> {
        if entry.value == OptionValue::Null {
            return None;
        }
        if let (OptionValue::Text(path), KeyKind::Path) = (&entry.value, key.kind) {
            match expand_home(path, self.environment) {
                Ok(expanded) => entry.value = OptionValue::Text(expanded),
                Err(message) => {
                    self.note(entry.location, message);
                    return None;
                }
            }
        }
        match check(key, &entry) {
            Ok(()) => Some(entry),
            Err(OptionError { location, message }) => {
                self.note(location, message);
                None
            }
        }
    }

    /// A node with its variables replaced; `None` when one can't be.
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
            Value::Text(text) => match substitute(text, self.environment) {
                Ok(None) => OptionValue::Text(text.clone()),
                Ok(Some(done)) => {
                    location.variable = done.variable;
                    match scalars {
                        Scalars::AsWritten if done.text.is_empty() => OptionValue::Null,
                        Scalars::AsWritten => OptionValue::Text(done.text),
                        Scalars::Typed => typed(&done.text),
                    }
                }
                Err(message) => {
                    self.note(location, message);
                    return None;
                }
            },
            Value::List(items) => OptionValue::List(self.items(items, path, scalars)),
            Value::Map(entries) => {
                let mut pairs = Vec::with_capacity(entries.len());
                for (name, item) in entries {
                    let path = join(path, &name.text);
                    if let Some(entry) = self.convert(item, &path, scalars)
                        && !is_emptied(item, &entry)
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
                && !is_emptied(item, &entry)
            {
                entries.push(entry);
            }
        }
        entries
    }

    /// The entries of a map of options, each checked against its key; unknown ones are noted.
    pub(crate) fn options(&mut self, node: &Node, path: &str, keys: &[Key]) -> Vec<(String, Entry)> {
        let entries = match &node.value {
            Value::Null => return Vec::new(),
            Value::Map(entries) => entries,
            other => {
                let message = format!("expected a map of options, found {}", other.type_name());
                self.problem(path, node.position, message);
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
                None => self.unknown(&path, name.position, &name.text, keys.iter().map(|key| key.name)),
            }
        }
        options
    }

    /// Adds the default of every key that `options` lacks.
    pub(crate) fn add_defaults(&mut self, owner: &str, options: &mut Vec<(String, Entry)>, keys: &[Key]) {
        for key in keys {
            if !options.iter().any(|(name, _)| name == key.name) {
                options.extend(self.default(owner, key).map(|entry| (key.name.to_owned(), entry)));
            }
        }
    }
}

/// `telemetry[0].config` and `sinks` make `telemetry[0].config.sinks`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn location(path: &str, position: Position) -> Location {
    let place = |number: u32| (number > 0).then_some(number);
    Location {
        path: path.to_owned(),
        line: place(position.line),
        column: place(position.column),
        variable: None,
    }
}

/// Whether a substitution left nothing: such an item of a list or map is absent.
fn is_emptied(node: &Node, entry: &Entry) -> bool {
    entry.value == OptionValue::Null && node.value != Value::Null
}

/// What a substituted text stands for.
fn typed(text: &str) -> OptionValue {
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

/// Reads the value as the sink will, to find what is wrong before anything is started.
fn check(key: &Key, entry: &Entry) -> Result<(), OptionError> {
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
        // A secret may have any shape, and no message may show it; kinds that core adds are the sink's.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_substituted_text_is_typed_again() {
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
            assert_eq!(typed(text), value, "{text}");
        }
    }
}
