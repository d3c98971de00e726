//! The checked configuration of a provider.

mod document;
mod sinks;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry_core::{Key, KeyKind, OptionError, OptionValue, Options, Registry, SinkEntry};
use telemetry_pipeline::{PipelineConfig, Verdict};

use crate::builtin;
use crate::config::document::Telemetry;
use crate::environment::{Environment, ProcessEnvironment};
use crate::error::{ConfigError, Problem};
use crate::resolver::{Resolver, join};
use crate::yaml::{Malformed, Node, Position, Value};

/// A configuration file may be so many bytes long.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A checked configuration, ready to be started.
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

/// A sink that the configuration chose.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkChoice {
    /// The sink.
    pub entry: &'static SinkEntry,
    /// Its options: the file's, else the environment's, else the defaults.
    pub options: Options,
}

impl Config {
    /// Reads a file: a whole `run.yaml` of Llama Stack or just its `telemetry:` list.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems that were found.
    pub fn from_file(path: &Path, registry: &Registry) -> Result<Self, ConfigError> {
        ConfigReader::new(registry).read_file(path)
    }

    /// Reads a text as [`Config::from_file`] reads a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems that were found.
    pub fn from_yaml(
        text: &str,
        registry: &Registry,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        ConfigReader::new(registry).environment(environment).read_yaml(text)
    }

    /// The configuration without a file: the environment's, else the defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems that were found.
    pub fn from_environment(registry: &Registry) -> Result<Self, ConfigError> {
        ConfigReader::new(registry).read_environment()
    }

    /// The service this process is; may be empty.
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// The sinks, in the order given.
    pub fn sinks(&self) -> &[SinkChoice] {
        &self.sinks
    }

    /// Whether there is an enabled provider. A file may disable all it has; nothing is recorded then.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// What is odd but usable, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The top-level map `server:`, with the defaults of the keys given to [`ConfigReader::server_keys`].
    pub fn server(&self) -> &Options {
        &self.server
    }

    /// The settings of the pipeline.
    pub fn pipeline(&self) -> &PipelineConfig {
        &self.pipeline
    }

    /// Lets `hook` see every attribute and message that this process logs, and drop or replace it,
    /// before any sink does. What the file says of `content` comes first.
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

    /// The parts that a provider starts.
    pub(crate) fn into_parts(self) -> (String, Vec<SinkChoice>, PipelineConfig) {
        (self.service_name, self.sinks, self.pipeline)
    }
}

/// Reads configurations. [`Config`]'s functions suffice unless the program has a `server:` map.
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
    /// A reader that chooses from these sinks, in the environment of the process.
    pub fn new(registry: &'a Registry) -> Self {
        Self { registry, environment: &ProcessEnvironment, server_keys: None }
    }

    /// Takes variables from `environment` instead of the process.
    #[must_use]
    pub fn environment(mut self, environment: &'a dyn Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Reads the top-level map `server:` and checks it against these keys. Without this call the map
    /// is left to whoever it is for.
    #[must_use]
    pub fn server_keys(mut self, keys: &'a [Key]) -> Self {
        self.server_keys = Some(keys);
        self
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems that were found.
    pub fn read_file(&self, path: &Path) -> Result<Config, ConfigError> {
        let text =
            read_text(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        self.read(&text, Some(path.to_path_buf()))
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems that were found.
    pub fn read_yaml(&self, text: &str) -> Result<Config, ConfigError> {
        self.read(text, None)
    }

    /// Reads the environment only.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems that were found.
    pub fn read_environment(&self) -> Result<Config, ConfigError> {
        self.read("", None)
    }

    fn read(&self, text: &str, file: Option<PathBuf>) -> Result<Config, ConfigError> {
        let mut resolver = Resolver::new(text, self.secret_keys(), self.environment);
        let config = match crate::yaml::parse(text) {
            Ok(root) => Some(self.interpret(&root, &mut resolver)),
            Err(Malformed { message, position }) => {
                resolver.problem("", position.unwrap_or_default(), message);
                None
            }
        };
        let Resolver { mut problems, warnings, .. } = resolver;
        problems.sort_by_key(|Problem { location, .. }| (location.line, location.column));
        match config {
            Some(config) if problems.is_empty() => Ok(Config { warnings, ..config }),
            Some(_) | None => Err(ConfigError::Invalid { file, problems }),
        }
    }

    /// The keys whose values no message may show.
    fn secret_keys(&self) -> Vec<&'a str> {
        let keys = self.registry.entries().flat_map(|entry| entry.keys);
        let secret =
            keys.chain(self.server_keys.unwrap_or_default()).filter(|key| key.kind == KeyKind::Secret);
        secret.flat_map(|key| std::iter::once(key.name).chain(key.flat)).collect()
    }

    /// Reads the whole document; problems go to the resolver.
    fn interpret(&self, root: &Node, resolver: &mut Resolver<'_>) -> Config {
        let found = document::find(root, self.server_keys, resolver);
        let empty = Node { value: Value::Null, position: Position::default(), written: None };
        let mut server = Vec::new();
        if let Some(keys) = self.server_keys {
            server = resolver.options(found.server.unwrap_or(&empty), "server", keys);
            resolver.add_defaults("server", &mut server, keys);
        }
        let mut config = Config {
            service_name: String::new(),
            sinks: Vec::new(),
            pipeline: PipelineConfig::default(),
            server: Options::new(server),
            is_enabled: true,
            warnings: Vec::new(),
        };
        match found.telemetry {
            Telemetry::Provider { config: node, path } => self.provider(node, &path, &mut config, resolver),
            Telemetry::Defaults => self.provider(&empty, "", &mut config, resolver),
            Telemetry::Off => {
                resolver.warnings.push("no telemetry provider is enabled: nothing is recorded".to_owned());
                config.is_enabled = false;
            }
            Telemetry::Unclear => {}
        }
        config
    }

    /// Reads the `config:` of the enabled provider.
    fn provider(&self, node: &Node, path: &str, config: &mut Config, resolver: &mut Resolver<'_>) {
        if !matches!(node.value, Value::Map(_) | Value::Null) {
            let message = format!("expected a map, found {}", node.value.type_name());
            resolver.problem(path, node.position, message);
            return;
        }
        config.service_name = service_name(node, path, resolver);
        config.sinks = sinks::choose(self.registry, node, path, resolver);
        self.check_keys(node, path, resolver);
        if let Some(pipeline) = node.get("pipeline") {
            let options = resolver.options(pipeline, &join(path, "pipeline"), PipelineConfig::KEYS);
            match PipelineConfig::default().with_options(&Options::new(options)) {
                Ok(pipeline) => config.pipeline = pipeline,
                Err(OptionError { location, message }) => resolver.note(location, message),
            }
        }
    }

    /// Notes the keys of `config:` that nobody knows, and checks the options of linked sinks that are
    /// not chosen.
    fn check_keys(&self, node: &Node, path: &str, resolver: &mut Resolver<'_>) {
        let Value::Map(entries) = &node.value else { return };
        let mut known = vec!["service_name", "sinks", "pipeline"];
        for entry in self.registry.entries() {
            known.push(entry.name);
            known.extend(entry.keys.iter().filter_map(|key| key.flat));
        }
        for (name, value) in entries {
            let absent = builtin::ABSENT.iter().any(|absent| absent.flat == Some(name.text.as_str()));
            let unlinked = sinks::is_asked_for(&name.text, node);
            if builtin::absent(&name.text).is_some() {
                if !unlinked {
                    let warning = format!("`{}` is not in this build: its options are ignored", name.text);
                    resolver.warnings.push(warning);
                }
            } else if !known.contains(&name.text.as_str()) && !absent && !unlinked {
                let all = known.iter().copied().chain(builtin::ABSENT.iter().map(|absent| absent.name));
                resolver.unknown(&join(path, &name.text), name.position, &name.text, all);
            }
            if absent {
                // Its variables must be there in every build alike.
                let _ = resolver.text(value, &join(path, &name.text));
            }
        }
    }
}

/// `service_name`: the file's, else `OTEL_SERVICE_NAME`, else empty.
fn service_name(node: &Node, path: &str, resolver: &mut Resolver<'_>) -> String {
    // Llama Stack's configurations carry a zero-width space where they mean nothing.
    let clean = |name: String| name.replace('\u{200B}', "").trim().to_owned();
    let given = node.get("service_name");
    let given = given.and_then(|node| resolver.text(node, &join(path, "service_name"))).map(clean);
    if let Some(name) = given.filter(|name| !name.is_empty()) {
        return name;
    }
    match resolver.variable("OTEL_SERVICE_NAME").map(|entry| entry.value) {
        Some(OptionValue::Text(name)) => clean(name),
        Some(_) | None => String::new(),
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if bytes as u64 > MAX_FILE_BYTES {
        let message = format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}
