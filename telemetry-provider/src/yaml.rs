//! Parses YAML into a tree of nodes with their lines and columns.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{NonFiniteFloatPolicy, Spanned, UserMessageFormatter};

/// A value of the document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub value: Value,
    pub position: Position,
    /// The source text of an unquoted scalar: `1.10` is the number 1.1, but may be meant as text.
    pub written: Option<String>,
}

/// The value of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Name, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub text: String,
    pub position: Position,
}

/// A place in the document. Lines and columns count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub line: u32,
    pub column: u32,
}

/// A text that is not valid YAML.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub message: String,
    pub position: Option<Position>,
}

impl Value {
    /// Returns the name of the value's type, for messages.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Float(_) => "number",
            Self::Text(_) => "text",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }
}

impl Node {
    /// Returns the value of `key` if the node is a map that contains it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            _ => None,
        }
    }
}

/// Parses one document. The parser limits depth, size and aliases.
pub(crate) fn parse(text: &str) -> Result<Node, YamlError> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // Parts of a run.yaml that are not ours may contain such numbers.
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        ignore_binary_tag_for_string: true,
        leading_zero_numbers_as_strings: true,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options) {
        Ok(root) => Ok(node(root, text)),
        Err(error) => {
            let position = error.location().map(position).filter(|position| position.line > 0);
            let mut message = error.render_with_formatter(&UserMessageFormatter);
            // The position is returned beside the message.
            if let Some(end) = message.rfind(" at line ") {
                message.truncate(end);
            }
            Err(YamlError { message, position })
        }
    }
}

fn position(location: serde_saphyr::Location) -> Position {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(location.line()), column: number(location.column()) }
}

/// The parser's output, before positions and source texts are added.
enum Tree {
    Null,
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

fn node(tree: Spanned<Tree>, source: &str) -> Node {
    let written = match &tree.value {
        Tree::Flag(_) | Tree::Integer(_) | Tree::Float(_) => source_text(tree.defined, source),
        Tree::Null | Tree::Text(_) | Tree::List(_) | Tree::Map(_) => None,
    };
    let value = match tree.value {
        Tree::Null => Value::Null,
        Tree::Flag(flag) => Value::Flag(flag),
        Tree::Integer(number) => Value::Integer(number),
        Tree::Float(number) => Value::Float(number),
        Tree::Text(text) => Value::Text(text),
        Tree::List(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        Tree::Map(entries) => {
            let entry = |(key, value): (Spanned<String>, Spanned<Tree>)| {
                (Name { position: position(key.referenced), text: key.value }, node(value, source))
            };
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { value, position: position(tree.referenced), written }
}

fn source_text(location: serde_saphyr::Location, source: &str) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    source.get(start..start.checked_add(length)?).map(|text| text.trim_end().to_owned())
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

#[expect(clippy::cast_precision_loss, reason = "a number beyond i64 is either an error or read as text")]
impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(i64::try_from(number).map_or(Tree::Float(number as f64), Tree::Integer))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Tree, E> {
        Ok(i64::try_from(number).map_or(Tree::Float(number as f64), Tree::Integer))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Tree, E> {
        Ok(i64::try_from(number).map_or(Tree::Float(number as f64), Tree::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_its_position() {
        let root = parse("a:\n  b: [x, ' y']\n").unwrap();
        let Value::List(items) = &root.get("a").unwrap().get("b").unwrap().value else { panic!("no list") };
        let places: Vec<_> = items.iter().map(|item| (item.value.clone(), item.position)).collect();
        assert_eq!(
            places,
            [
                (Value::Text("x".into()), Position { line: 2, column: 7 }),
                (Value::Text(" y".into()), Position { line: 2, column: 10 }),
            ]
        );
    }

    #[test]
    fn scalars_keep_their_source_text() {
        for (text, value, written) in [
            ("1.10", Value::Float(1.1), Some("1.10")),
            ("0x1F", Value::Integer(31), Some("0x1F")),
            ("yes", Value::Flag(true), Some("yes")),
            ("99999999999999999999", Value::Float(1e20), Some("99999999999999999999")),
            ("007", Value::Text("007".into()), None),
            (".inf", Value::Text(".inf".into()), None),
            ("'1'", Value::Text("1".into()), None),
            ("~", Value::Null, None),
        ] {
            let node = parse(text).unwrap();
            assert_eq!((node.value, node.written.as_deref()), (value, written), "{text}");
        }
    }

    #[test]
    fn aliases_keep_the_source_text_of_their_anchor() {
        let root = parse("a: &version 1.10\nb: *version\n").unwrap();
        assert_eq!(root.get("b").unwrap().written.as_deref(), Some("1.10"));
        assert_eq!(root.get("b").unwrap().position, Position { line: 2, column: 4 });
    }

    #[test]
    fn invalid_yaml_is_an_error_with_its_position() {
        for (text, message, place) in [
            ("a: [1, 2\n", "unclosed bracket '['", (1, 4)),
            ("a: 1\nb: 2\na: 3\n", "duplicate mapping key `a` is not allowed here", (3, 1)),
            ("a: b\n  c: d\n", "mapping values are not allowed in this context", (2, 4)),
            ("a: *nope\n", "reference to unknown value", (1, 4)),
        ] {
            let error = parse(text).unwrap_err();
            let position = error.position.map(|at| (at.line, at.column));
            assert_eq!((error.message.as_str(), position), (message, Some(place)));
        }
    }

    #[test]
    fn an_alias_bomb_is_rejected() {
        let level = |n: u32| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1);
        let text: String = std::iter::once("a0: &a0 [x]\n".to_owned()).chain((1..30).map(level)).collect();
        assert!(parse(&text).is_err());
    }
}
