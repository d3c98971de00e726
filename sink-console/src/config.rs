//! The options of the sink.

use telemetry_core::{Key, KeyKind, OptionError, Options};

/// The options of the sink.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "stream",
        kind: KeyKind::Choice(&["stderr", "stdout"]),
        flat: None,
        default: Some("stderr"),
        help: "where the lines are written",
    },
    Key {
        name: "format",
        kind: KeyKind::Choice(&["text", "json"]),
        flat: None,
        default: Some("text"),
        help: "`text` for people, `json` for one object per line",
    },
    Key {
        name: "color",
        kind: KeyKind::Choice(&["auto", "always", "never"]),
        flat: None,
        // See no-color.org. Without the variable the text is empty, so that the option is absent and means `auto`.
        default: Some("${env.NO_COLOR:+never}"),
        help: "`auto` uses colours on a terminal, unless NO_COLOR is set",
    },
];

/// The checked options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where the lines are written.
    pub stream: Stream,
    /// The format of the lines.
    pub format: Format,
    /// When lines are coloured.
    pub color: Color,
}

/// Where lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    /// Standard error, so that standard output is left to the program.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
}

/// The format of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// When lines are coloured. JSON is never coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Config {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// Returns an [`OptionError`] for the first invalid value.
    ///
    /// ```
    /// use sink_console::{Config, Format};
    /// use telemetry_core::{OptionValue, Options};
    ///
    /// let options = Options::from_pairs([("format", OptionValue::Text("json".into()))]);
    /// assert_eq!(Config::from_options(&options)?.format, Format::Json);
    /// # Ok::<(), telemetry_core::OptionError>(())
    /// ```
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let streams = [("stderr", Stream::Stderr), ("stdout", Stream::Stdout)];
        let formats = [("text", Format::Text), ("json", Format::Json)];
        let colors = [("auto", Color::Auto), ("always", Color::Always), ("never", Color::Never)];
        Ok(Self {
            stream: options.choice("stream", &streams)?.unwrap_or_default(),
            format: options.choice("format", &formats)?.unwrap_or_default(),
            color: options.choice("color", &colors)?.unwrap_or_default(),
        })
    }

    /// Returns true if text is coloured. `is_terminal` describes the stream.
    pub(crate) const fn is_colored(self, is_terminal: bool) -> bool {
        match self.color {
            Color::Auto => is_terminal,
            Color::Always => true,
            Color::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_core::OptionValue;

    fn read<const N: usize>(pairs: [(&str, &str); N]) -> Result<Config, OptionError> {
        let pairs = pairs.map(|(key, text)| (key, OptionValue::Text(text.into())));
        Config::from_options(&Options::from_pairs(pairs))
    }

    #[test]
    fn options_are_checked() {
        assert_eq!(read([]), Ok(Config::default()));
        let config = read([("stream", "stdout"), ("color", "never")]).unwrap();
        assert_eq!(config, Config { stream: Stream::Stdout, format: Format::Text, color: Color::Never });
        let error = read([("color", "sometimes")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "color: unknown value `sometimes`: expected one of auto, always, never"
        );
    }

    #[test]
    fn auto_colours_a_terminal_only() {
        let with = |color| Config { color, ..Config::default() };
        assert!(with(Color::Auto).is_colored(true) && !with(Color::Auto).is_colored(false));
        assert!(with(Color::Always).is_colored(false) && !with(Color::Never).is_colored(true));
    }
}
