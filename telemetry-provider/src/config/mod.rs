//! Reads and checks the configuration of a provider.

mod document;
mod sinks;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry_core::{Key, KeyKind, OptionError, OptionValue, Options, Registry, SinkContext, Text};
use telemetry_pipeline::{PipelineConfig, Verdict};

pub use self::sinks::SinkChoice;
use crate::builtin::{self, ABSENT_SINKS, absent_sink};
use crate::config::document::{ProviderSection, find_sections};
use crate::environment::{Environment, ProcessEnvironment};
use crate::error::ConfigError;
use crate::problem::Problem;
use crate::value_reader::{ValueReader, join};
use crate::yaml::{Node, Position, Value, YamlError};

/// Largest size of a configuration file.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A valid configuration, which a [`Provider`](crate::Provider) can start.
///
/// ```
/// use telemetry_core::Registry;
/// use telemetry_provider::{Config, Variables};
///
/// let registry = telemetry_provider::registry()?;
/// let environment = Variables::from([("OTEL_SERVICE_NAME", "llama-stack")]);
/// let config = Config::from_yaml(
///     "telemetry:
///     - provider_id: meta-reference
///       provider_type: inline::meta-reference
///       config:
///         sinks: []",
///     &registry,
///     &environment,
/// )?;
/// assert_eq!(config.service_name(), "llama-stack");
/// assert!(config.sinks().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    service_name: String,
    sinks: Vec<SinkChoice>,
    pipeline: PipelineConfig,
    server: Options,
    is_enabled: bool,
    warnings: Vec<String>,
}

impl Config {
    /// Reads a file: a whole `run.yaml` of Llama Stack, or only its list `telemetry:`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems.
    pub fn from_file(path: &Path, registry: &Registry) -> Result<Self, ConfigError> {
        ConfigReader::new(registry).read_file(path)
    }

    /// Reads YAML text as [`Config::from_file`] reads a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems.
    pub fn from_yaml(
        text: &str,
        registry: &Registry,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        ConfigReader::new(registry).environment(environment).read_yaml(text)
    }

    /// Reads the environment, without a file. Everything else is the default.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems.
    pub fn from_environment(registry: &Registry) -> Result<Self, ConfigError> {
        ConfigReader::new(registry).read_environment()
    }

    /// Returns the name of the service that this process is. May be empty.
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// Returns the chosen sinks in the order of the file.
    pub fn sinks(&self) -> &[SinkChoice] {
        &self.sinks
    }

    /// Checks the options of all chosen sinks as starting them does, without starting them. Returns a message for each
    /// sink that would not start. What only running can show is not checked: addresses, files, and sinks of others.
    pub fn problems(&self) -> Vec<String> {
        let check = |choice: &SinkChoice| {
            let context = SinkContext {
                service_name: Text::Owned(self.service_name.clone()),
                options: choice.options.clone(),
                run: self.pipeline.run,
            };
            let error = builtin::check(choice.entry.name, &context).err()?;
            Some(format!("sink `{}`: {}", choice.entry.name, error.full_text()))
        };
        self.sinks.iter().filter_map(check).collect()
    }

    /// Returns true if a provider is enabled. A file may disable all its providers; nothing is recorded then.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Returns a message for everything that is probably a mistake but not an error.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the options of the top-level map `server:`, with the defaults of the keys that
    /// [`ConfigReader::server_keys`] set.
    pub fn server(&self) -> &Options {
        &self.server
    }

    /// Returns the settings of the pipeline.
    pub fn pipeline(&self) -> &PipelineConfig {
        &self.pipeline
    }

    /// Calls `hook` with every attribute and message that this process logs. The hook can drop or replace
    /// it before it reaches a sink. The file's option `content` is applied first.
    ///
    /// ```
    /// use telemetry_pipeline::Verdict;
    /// use telemetry_provider::{Config, Variables, registry};
    ///
    /// let config = Config::from_yaml("telemetry: []", &registry()?, &Variables::default())?;
    /// let config = config.with_redaction_hook(|key, _| match key {
    ///     "user.email" => Verdict::Drop,
    ///     _ => Verdict::Keep,
    /// });
    /// assert!(config.pipeline().redaction.hook.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_redaction_hook(
        mut self,
        hook: impl Fn(&str, &telemetry_core::Value) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        self.pipeline.redaction.hook = Some(Arc::new(hook));
        self
    }

    /// Splits the configuration into service name, sinks and pipeline settings.
    pub(crate) fn into_parts(self) -> (String, Vec<SinkChoice>, PipelineConfig) {
        (self.service_name, self.sinks, self.pipeline)
    }
}

/// Reads configurations with more control than [`Config`]'s functions: another environment, or a program
/// that has options of its own in the top-level map `server:`.
///
/// ```
/// use telemetry_core::{Key, KeyKind};
/// use telemetry_provider::{ConfigReader, Variables};
///
/// static KEYS: &[Key] = &[Key {
///     name: "listen",
///     kind: KeyKind::Text,
///     flat: None,
///     default: Some("127.0.0.1:8322"),
///     help: "where to listen",
/// }];
/// let registry = telemetry_provider::registry()?;
/// let environment = Variables::default();
/// let reader = ConfigReader::new(&registry).environment(&environment).server_keys(KEYS);
/// let text = "
/// telemetry: []
/// server: {lisen: 0.0.0.0:80}";
/// let error = reader.read_yaml(text).unwrap_err();
/// assert!(error.to_string().contains("unknown key `lisen`; did you mean `listen`?"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct ConfigReader<'a> {
    registry: &'a Registry,
    environment: &'a dyn Environment,
    server_keys: Option<&'a [Key]>,
}

impl std::fmt::Debug for ConfigReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigReader").field("registry", self.registry).finish_non_exhaustive()
    }
}

impl<'a> ConfigReader<'a> {
    /// Creates a reader that knows the sinks of `registry` and reads the environment of the process.
    pub fn new(registry: &'a Registry) -> Self {
        Self { registry, environment: &ProcessEnvironment, server_keys: None }
    }

    /// Reads variables from `environment` instead of the process.
    #[must_use]
    pub fn environment(mut self, environment: &'a dyn Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Reads the top-level map `server:`, which may contain these keys. Without this call the map is ignored.
    #[must_use]
    pub fn server_keys(mut self, keys: &'a [Key]) -> Self {
        self.server_keys = Some(keys);
        self
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems.
    pub fn read_file(&self, path: &Path) -> Result<Config, ConfigError> {
        let text =
            read_text(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        self.read(&text, Some(path.to_path_buf()))
    }

    /// Reads YAML text.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems.
    pub fn read_yaml(&self, text: &str) -> Result<Config, ConfigError> {
        self.read(text, None)
    }

    /// Reads the environment, without a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems.
    pub fn read_environment(&self) -> Result<Config, ConfigError> {
        self.read("", None)
    }

    fn read(&self, text: &str, file: Option<PathBuf>) -> Result<Config, ConfigError> {
        let mut reader = ValueReader::new(text, self.secret_keys(), self.environment);
        let config = match crate::yaml::parse(text) {
            Ok(root) => Some(self.read_document(&root, &mut reader)),
            Err(YamlError { message, position }) => {
                reader.add_problem_at("", position.unwrap_or_default(), message);
                None
            }
        };
        let ValueReader { mut problems, warnings, .. } = reader;
        problems.sort_by_key(|Problem { location, .. }| (location.line, location.column));
        match config {
            Some(config) if problems.is_empty() => Ok(Config { warnings, ..config }),
            Some(_) | None => Err(ConfigError::Invalid { file, problems }),
        }
    }

    /// Returns the keys whose values no message may show.
    fn secret_keys(&self) -> Vec<&'a str> {
        let keys = self.registry.entries().flat_map(|entry| entry.keys);
        let secret =
            keys.chain(self.server_keys.unwrap_or_default()).filter(|key| key.kind == KeyKind::Secret);
        secret.flat_map(|key| std::iter::once(key.name).chain(key.flat)).collect()
    }

    /// Reads the whole document. Adds all problems to `reader`.
    fn read_document(&self, root: &Node, reader: &mut ValueReader<'_>) -> Config {
        let sections = find_sections(root, self.server_keys, reader);
        let empty = Node { value: Value::Null, position: Position::default(), written: None };
        let mut server = Vec::new();
        if let Some(keys) = self.server_keys {
            server = reader.options(sections.server.unwrap_or(&empty), "server", keys);
            reader.add_defaults("server", &mut server, keys);
        }
        let mut config = Config {
            service_name: String::new(),
            sinks: Vec::new(),
            pipeline: PipelineConfig::default(),
            server: Options::new(server),
            is_enabled: true,
            warnings: Vec::new(),
        };
        match sections.provider {
            ProviderSection::Config { node, path } => self.read_provider(node, &path, &mut config, reader),
            ProviderSection::Defaults => self.read_provider(&empty, "", &mut config, reader),
            ProviderSection::Disabled => {
                reader.warnings.push("no telemetry provider is enabled; nothing is recorded".to_owned());
                config.is_enabled = false;
            }
            ProviderSection::Invalid => {}
        }
        config
    }

    /// Reads the `config:` of the enabled provider.
    fn read_provider(&self, node: &Node, path: &str, config: &mut Config, reader: &mut ValueReader<'_>) {
        if !matches!(node.value, Value::Map(_) | Value::Null) {
            let message = format!("expected a map, found {}", node.value.type_name());
            reader.add_problem_at(path, node.position, message);
            return;
        }
        config.service_name = read_service_name(node, path, reader);
        config.sinks = sinks::choose(self.registry, node, path, reader);
        self.check_keys(node, path, reader);
        if let Some(pipeline) = node.get("pipeline") {
            let options = reader.options(pipeline, &join(path, "pipeline"), PipelineConfig::KEYS);
            match PipelineConfig::default().with_options(&Options::new(options)) {
                Ok(pipeline) => config.pipeline = pipeline,
                Err(OptionError { location, message }) => reader.add_problem(location, message),
            }
        }
    }

    /// Adds a problem for every unknown key of `config:`, and a warning for options of sinks that are not in
    /// this build.
    fn check_keys(&self, node: &Node, path: &str, reader: &mut ValueReader<'_>) {
        let Value::Map(entries) = &node.value else { return };
        let mut known = vec!["service_name", "sinks", "pipeline"];
        for entry in self.registry.entries() {
            known.push(entry.name);
            known.extend(entry.keys.iter().filter_map(|key| key.flat));
        }
        for (name, value) in entries {
            let is_flat_of_absent = ABSENT_SINKS.iter().any(|absent| absent.flat == Some(name.text.as_str()));
            let is_chosen = sinks::is_chosen_by_name(&name.text, node);
            if absent_sink(&name.text).is_some() {
                if !is_chosen {
                    let warning =
                        format!("sink `{}` is not in this build; its options are ignored", name.text);
                    reader.warnings.push(warning);
                }
            } else if !known.contains(&name.text.as_str()) && !is_flat_of_absent && !is_chosen {
                let all = known.iter().copied().chain(ABSENT_SINKS.iter().map(|absent| absent.name));
                reader.add_unknown_key(&join(path, &name.text), name.position, &name.text, all);
            }
            if is_flat_of_absent {
                // The variables in its value must be set in every build.
                let _ = reader.text(value, &join(path, &name.text));
            }
        }
    }
}

/// Reads the service name from the file, else from `OTEL_SERVICE_NAME`, else returns an empty one.
fn read_service_name(node: &Node, path: &str, reader: &mut ValueReader<'_>) -> String {
    // Llama Stack's configurations contain a zero-width space as the empty name.
    let clean = |name: String| name.replace('\u{200B}', "").trim().to_owned();
    let given = node.get("service_name");
    let given = given.and_then(|node| reader.text(node, &join(path, "service_name"))).map(clean);
    if let Some(name) = given.filter(|name| !name.is_empty()) {
        return name;
    }
    match reader.variable("OTEL_SERVICE_NAME").map(|entry| entry.value) {
        Some(OptionValue::Text(name)) => clean(name),
        Some(_) | None => String::new(),
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if bytes as u64 > MAX_FILE_BYTES {
        let message = format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}
