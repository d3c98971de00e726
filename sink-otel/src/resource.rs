//! The OpenTelemetry resources of this process and of services whose signals it forwards.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

const SERVICE_NAME: &str = "service.name";

/// Returns the resource of each service.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    own: Resource,
}

impl Resources {
    /// Creates the resource of this process from its `service_name` and resource attributes.
    ///
    /// `service_name` wins over the attribute `service.name`. Without either, the name is
    /// `unknown_service:` and the program's name, as OpenTelemetry requires.
    pub(crate) fn new(service_name: &str, attributes: &[(String, String)]) -> Self {
        let given = service_name.trim_matches(|c: char| c.is_whitespace() || c == '\u{200b}');
        let attribute =
            attributes.iter().find(|(name, _)| name == SERVICE_NAME).map(|(_, value)| value.as_str());
        let service_name = match (given, attribute) {
            ("", Some(attribute)) if !attribute.is_empty() => attribute.to_owned(),
            ("", _) => unknown_service(),
            (given, _) => given.to_owned(),
        };
        let others = attributes.iter().filter(|(name, _)| name != SERVICE_NAME);
        let own = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(others.map(|(name, value)| KeyValue::new(name.clone(), value.clone())))
            .with_service_name(service_name)
            .build();
        Self { own }
    }

    /// Returns the resource of a service; `None` is this process. Only the name of another service is known.
    pub(crate) fn of(&self, service: Option<&str>) -> Resource {
        match service {
            None => self.own.clone(),
            Some(name) => Resource::builder_empty().with_service_name(name.to_owned()).build(),
        }
    }
}

fn unknown_service() -> String {
    let program = std::env::args_os().next().and_then(|path| {
        let name = std::path::Path::new(&path).file_stem()?;
        Some(name.to_string_lossy().into_owned())
    });
    match program {
        Some(program) if !program.is_empty() => format!("unknown_service:{program}"),
        Some(_) | None => "unknown_service".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::{Key, Value};

    fn name(resources: &Resources, service: Option<&str>) -> String {
        let name = resources.of(service).get(&Key::from_static_str(SERVICE_NAME));
        name.map(|name: Value| name.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_service_name_wins_over_the_attribute() {
        let attributes = [("service.name".to_owned(), "from-env".to_owned())];
        assert_eq!(name(&Resources::new("mine", &attributes), None), "mine");
        assert_eq!(name(&Resources::new("\u{200b}", &attributes), None), "from-env");
        assert!(name(&Resources::new("", &[]), None).starts_with("unknown_service:"));
        assert_eq!(name(&Resources::new("mine", &[]), Some("other")), "other");
    }

    #[test]
    fn the_sdk_names_itself() {
        let resource = Resources::new("s", &[("zone".into(), "eu".into())]).of(None);
        let mut names: Vec<_> = resource.iter().map(|(name, _)| name.to_string()).collect();
        names.sort();
        assert_eq!(
            names,
            ["service.name", "telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version", "zone"]
        );
    }
}
