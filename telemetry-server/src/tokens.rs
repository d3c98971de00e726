//! Bearer tokens and the scopes they have.

use std::fmt;

use subtle::ConstantTimeEq as _;
use telemetry_core::{Entry, OptionError, OptionValue, Options};

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `telemetry.read`: queries and `/metrics`.
    Read,
    /// `telemetry.write`: events and OTLP.
    Write,
}

impl Scope {
    const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// Returns the name of the scope in a configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "telemetry.read",
            Self::Write => "telemetry.write",
        }
    }
}

/// The bearer tokens of a configuration. `Debug` shows only how many there are.
///
/// ```
/// use telemetry_core::{OptionValue, Options};
/// use telemetry_server::Tokens;
///
/// assert!(Tokens::default().is_empty());
/// let options = Options::from_pairs([("tokens", OptionValue::Text("hush".into()))]);
/// let tokens = Tokens::from_options(&options)?;
/// assert_eq!(format!("{tokens:?}"), "Tokens(1, not shown)");
/// # Ok::<(), telemetry_core::OptionError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

#[derive(Clone, PartialEq, Eq)]
struct Token {
    secret: String,
    scopes: Vec<Scope>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({}, not shown)", self.0.len())
    }
}

impl Tokens {
    /// Reads the option `tokens`, a list. An item is text, which is a token with every scope, or a map of
    /// `token` and `scopes`. One text with commas is a list of texts.
    ///
    /// # Errors
    ///
    /// An [`OptionError`] at the item that can't be used. It never contains a token.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let Some(entry) = options.get("tokens") else { return Ok(Self::default()) };
        let mut tokens = Vec::new();
        match &entry.value {
            OptionValue::List(items) => {
                for item in items {
                    let before = tokens.len();
                    read_item(item, &mut tokens)?;
                    if tokens.len() == before {
                        // A variable that is empty by mistake must not turn authorization off.
                        return Err(fault(
                            item,
                            "the token is empty; leave `tokens` out to allow requests without a token",
                        ));
                    }
                }
            }
            _ => read_item(entry, &mut tokens)?,
        }
        for (index, token) in tokens.iter().enumerate() {
            if tokens[..index].iter().any(|earlier| earlier.secret == token.secret) {
                return Err(fault(
                    entry,
                    "the same token is listed twice; list it once, with all its scopes",
                ));
            }
        }
        Ok(Self(tokens))
    }

    /// Returns true if there are none. Requests then need no token.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if the token `given` has `scope`, and `None` for an unknown token.
    ///
    /// Every comparison takes the same time for tokens of the same length, so the time of an answer reveals
    /// only the length of a token.
    pub(crate) fn allow(&self, given: &[u8], scope: Scope) -> Option<bool> {
        let known = |token: &&Token| bool::from(token.secret.as_bytes().ct_eq(given));
        let found: Vec<&Token> = self.0.iter().filter(known).collect();
        (!found.is_empty()).then(|| found.iter().any(|token| token.scopes.contains(&scope)))
    }
}

fn fault(entry: &Entry, message: impl Into<String>) -> OptionError {
    OptionError { location: entry.location.clone(), message: message.into() }
}

/// Adds the tokens of one item of the list.
fn read_item(item: &Entry, tokens: &mut Vec<Token>) -> Result<(), OptionError> {
    match &item.value {
        OptionValue::Text(text) => {
            for secret in text.split(',').map(str::trim).filter(|secret| !secret.is_empty()) {
                tokens.push(Token { secret: checked(secret, item)?, scopes: Scope::ALL.to_vec() });
            }
            Ok(())
        }
        OptionValue::Map(pairs) => {
            let (mut secret, mut scopes) = (None, None);
            for (name, entry) in pairs {
                match (name.as_str(), &entry.value) {
                    ("token", OptionValue::Text(text)) => secret = Some(checked(text, entry)?),
                    ("token", _) => return Err(fault(entry, "a token must be text")),
                    ("scopes", _) => scopes = Some(read_scopes(entry)?),
                    _ => {
                        let message = format!("unknown key `{name}`: expected `token` or `scopes`");
                        return Err(fault(entry, message));
                    }
                }
            }
            let secret = secret.ok_or_else(|| fault(item, "the key `token` is missing or empty"))?;
            tokens.push(Token { secret, scopes: scopes.unwrap_or_else(|| Scope::ALL.to_vec()) });
            Ok(())
        }
        _ => Err(fault(item, "expected text, or a map of `token` and `scopes`")),
    }
}

/// Checks that a token has the form of RFC 6750. Others can't be sent in a header.
fn checked(secret: &str, entry: &Entry) -> Result<String, OptionError> {
    let is_sendable = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if !secret.is_empty() && secret.chars().all(is_sendable) {
        return Ok(secret.to_owned());
    }
    Err(fault(entry, "invalid token: expected one or more letters, digits and characters of `-._~+/=`"))
}

fn read_scopes(entry: &Entry) -> Result<Vec<Scope>, OptionError> {
    let options = Options::new(vec![("scopes".to_owned(), entry.clone())]);
    let names = options.list("scopes")?.unwrap_or_default();
    let scopes = names.iter().map(|name| {
        let scope = Scope::ALL.into_iter().find(|scope| scope.name() == name);
        scope.ok_or_else(|| fault(entry, "unknown scope: expected `telemetry.read` or `telemetry.write`"))
    });
    scopes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::Location;

    fn entry(value: OptionValue) -> Entry {
        Entry { value, location: Location::default() }
    }

    fn text(text: &str) -> Entry {
        entry(OptionValue::Text(text.to_owned()))
    }

    fn read(items: Vec<Entry>) -> Result<Tokens, OptionError> {
        Tokens::from_options(&Options::new(vec![("tokens".to_owned(), entry(OptionValue::List(items)))]))
    }

    fn scoped(token: &str, scopes: &str) -> Entry {
        entry(OptionValue::Map(vec![("token".to_owned(), text(token)), ("scopes".to_owned(), text(scopes))]))
    }

    #[test]
    fn a_token_allows_only_its_scopes() {
        let tokens =
            read(vec![text("all"), scoped("in", "telemetry.write"), scoped("out", "telemetry.read")]);
        let tokens = tokens.unwrap();
        let allowed = |given: &str| Scope::ALL.map(|scope| tokens.allow(given.as_bytes(), scope));
        assert_eq!(allowed("all"), [Some(true), Some(true)]);
        assert_eq!(allowed("in"), [Some(false), Some(true)]);
        assert_eq!(allowed("out"), [Some(true), Some(false)]);
        for unknown in ["", "al", "all ", "alll", "ALL"] {
            assert_eq!(allowed(unknown), [None, None], "{unknown:?}");
        }
    }

    #[test]
    fn no_error_and_no_debug_shows_a_token() {
        for wrong in [
            vec![text("hu sh")],
            vec![scoped("hush", "telemetry.all")],
            vec![scoped("hu\nsh", "telemetry.read")],
            vec![entry(OptionValue::Map(vec![("hush".to_owned(), text("x"))]))],
        ] {
            let Err(error) = read(wrong.clone()) else { panic!("accepted {wrong:?}") };
            let shown = format!("{error} {error:?}").replace("unknown key `hush`", "");
            assert!(!shown.contains("hush"), "{shown}");
        }
        assert!(!format!("{:?}", read(vec![text("hush")]).unwrap()).contains("hush"));
    }

    #[test]
    fn an_empty_token_is_rejected() {
        let no_secret = entry(OptionValue::Map(vec![("scopes".to_owned(), text("telemetry.read"))]));
        assert!(read(vec![no_secret]).is_err());
        assert!(read(vec![text("")]).is_err());
        assert!(read(vec![text(" ,"), text("hush")]).is_err());
        assert!(read(Vec::new()).unwrap().is_empty());
    }
}
