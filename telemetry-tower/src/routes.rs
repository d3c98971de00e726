//! Which requests are watched, and the names of their routes and APIs.

use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Request, Uri};
use telemetry_core::Text;

/// The `api` of requests without a known route, so that a scan does not create labels.
pub const UNKNOWN: &str = "unknown";

/// Documentation pages and the like, which are not watched.
const NOT_WATCHED: [&str; 5] = ["/docs", "/redoc", "/openapi.json", "/favicon.ico", "/static"];

/// Maps requests to routes and APIs, and says which requests are not watched.
///
/// There are three ways, from least to most work:
///
/// - **Nothing.** With [`Routes::new`], the API is the [first segment of the path](api_of). A request that is answered
///   with 404 counts as `unknown`, unless its API has answered anything else before.
/// - **A table.** Add each route with [`Routes::route`]. Requests that match no route are `unknown`.
/// - **A function.** Use [`Routes::from_fn`] in servers that know their routes already.
///
/// Paths under `/docs`, `/redoc`, `/openapi.json`, `/favicon.ico` and `/static` are not watched.
///
/// ```
/// use telemetry_tower::Routes;
///
/// let routes = Routes::new()
///     .route("/v1/chat/completions", "inference")
///     .route("/v1/models/{model_id}", "models")
///     .exclude("/health");
/// ```
#[derive(Clone, Default)]
pub struct Routes {
    rule: Rule,
    excluded: Vec<Text>,
}

#[derive(Clone, Default)]
enum Rule {
    #[default]
    FirstSegment,
    Table(Vec<Route>),
    Function(RouteFn),
}

type RouteFn = Arc<dyn Fn(&RequestHead<'_>) -> Option<Route> + Send + Sync>;

/// A route and its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path with its parameters in braces. It becomes the attribute `http.route`.
    pub template: Text,
    /// The API. It becomes the label `api`.
    pub api: Text,
}

/// The part of a request that [`Routes::from_fn`] can read.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path and the query.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What the server added to the request, such as axum's `MatchedPath`.
    pub extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

/// The API and the route of one request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestName {
    pub(crate) api: Text,
    pub(crate) template: Option<Text>,
    /// True if the API was guessed from the path, so that the route may not exist.
    pub(crate) guessed: bool,
}

impl Routes {
    /// Uses the first segment of the path as the API.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `route` for every request. `None` means an unknown route.
    ///
    /// In axum, a layer that is added with `Router::layer` runs after the router has found the route:
    ///
    /// ```
    /// use axum::extract::MatchedPath;
    /// use telemetry_tower::{Route, Routes, api_of};
    ///
    /// let routes = Routes::from_fn(|request| {
    ///     let matched = request.extensions.get::<MatchedPath>()?;
    ///     let template = matched.as_str().to_owned();
    ///     Some(Route { api: api_of(&template).to_owned().into(), template: template.into() })
    /// });
    /// ```
    pub fn from_fn(route: impl Fn(&RequestHead<'_>) -> Option<Route> + Send + Sync + 'static) -> Self {
        Self { rule: Rule::Function(Arc::new(route)), excluded: Vec::new() }
    }

    /// Adds a route to the table. In a template, `{name}` matches one segment, and `{*rest}` at the end matches one or more.
    /// The first route that matches is used. The table replaces a function set before.
    #[must_use]
    pub fn route(mut self, template: impl Into<Text>, api: impl Into<Text>) -> Self {
        let route = Route { template: template.into(), api: api.into() };
        match &mut self.rule {
            Rule::Table(table) => table.push(route),
            Rule::FirstSegment | Rule::Function(_) => self.rule = Rule::Table(vec![route]),
        }
        self
    }

    /// Excludes requests for this path and all paths below it.
    #[must_use]
    pub fn exclude(mut self, path: impl Into<Text>) -> Self {
        self.excluded.push(path.into());
        self
    }

    /// Returns the names of a request, or `None` if it is not watched.
    pub(crate) fn name(&self, request: &RequestHead<'_>) -> Option<RequestName> {
        let path = request.uri.path();
        let mut excluded = NOT_WATCHED.into_iter().chain(self.excluded.iter().map(AsRef::as_ref));
        if excluded.any(|above| is_below(path, above)) {
            return None;
        }
        let route = match &self.rule {
            Rule::FirstSegment => {
                let api = api_of(path);
                return Some(RequestName {
                    api: api.to_owned().into(),
                    template: None,
                    guessed: api != UNKNOWN,
                });
            }
            Rule::Table(table) => table.iter().find(|route| matches_template(&route.template, path)).cloned(),
            Rule::Function(function) => function(request),
        };
        Some(match route {
            Some(Route { api, template }) => RequestName { api, template: Some(template), guessed: false },
            None => RequestName { api: Text::Borrowed(UNKNOWN), template: None, guessed: false },
        })
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Routes");
        match &self.rule {
            Rule::FirstSegment => shown.field("rule", &"first segment"),
            Rule::Table(table) => shown.field("rule", table),
            Rule::Function(_) => shown.field("rule", &"function"),
        };
        shown.field("excluded", &self.excluded).finish()
    }
}

/// Returns the API of a path in Llama Stack's layout: the first segment after an optional version.
///
/// A segment that can't be the name of an API is `unknown`. Names have 1 to 64 bytes: ASCII letters, digits, `_`, `-` and
/// `.`.
///
/// ```
/// use telemetry_tower::api_of;
///
/// assert_eq!(api_of("/v1/inference/chat/completions"), "inference");
/// assert_eq!(api_of("/v1alpha/agents"), "agents");
/// assert_eq!(api_of("/health"), "health");
/// assert_eq!(api_of("/"), "unknown");
/// ```
pub fn api_of(path: &str) -> &str {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let first = segments.next().unwrap_or_default();
    let api = match first {
        "v1" | "v1alpha" | "v1beta" => segments.next().unwrap_or_default(),
        _ => first,
    };
    let is_name = api.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if is_name && (1..=64).contains(&api.len()) { api } else { UNKNOWN }
}

fn is_below(path: &str, above: &str) -> bool {
    let rest = path.strip_prefix(above.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn matches_template(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for expected in template.split('/') {
        if expected.starts_with("{*") && expected.ends_with('}') {
            return segments.next().is_some_and(|first| !first.is_empty());
        }
        let Some(segment) = segments.next() else { return false };
        let is_parameter = expected.starts_with('{') && expected.ends_with('}');
        let matches = if is_parameter { !segment.is_empty() } else { segment == expected };
        if !matches {
            return false;
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(routes: &Routes, path: &str) -> Option<String> {
        let request = Request::get(path).body(()).expect("a path");
        routes.name(&RequestHead::of(&request)).map(|found| match found.template {
            Some(template) => format!("{} {template}", found.api),
            None => found.api.into_owned(),
        })
    }

    #[test]
    fn the_api_is_the_first_segment_after_the_version() {
        let table = [
            ("/v1/inference/chat/completions", "inference"),
            ("/v1beta/agents", "agents"),
            ("/agents/", "agents"),
            ("/grpc.health.v1.Health/Check", "grpc.health.v1.Health"),
            ("/v2/agents", "v2"),
            ("/", "unknown"),
            ("/v1", "unknown"),
            ("//evil", "unknown"),
            ("/a%00b", "unknown"),
            ("*", "unknown"),
        ];
        for (path, api) in table {
            assert_eq!(api_of(path), api, "{path}");
        }
        assert_eq!(api_of(&format!("/{}", "x".repeat(65))), "unknown");
    }

    #[test]
    fn a_table_matches_its_routes_only() {
        let routes = Routes::new()
            .route("/v1/chat/completions", "inference")
            .route("/v1/models/{model_id}", "models")
            .route("/v1/files/{*path}", "files");
        let find = |path| find(&routes, path).expect("watched");
        assert_eq!(find("/v1/chat/completions?stream=true"), "inference /v1/chat/completions");
        assert_eq!(find("/v1/models/llama"), "models /v1/models/{model_id}");
        assert_eq!(find("/v1/files/a/b/c"), "files /v1/files/{*path}");
        for path in ["/v1/models", "/v1/models/", "/v1/models/a/b", "/v1/files/", "/wp-login.php"] {
            assert_eq!(find(path), "unknown", "{path}");
        }
    }

    #[test]
    fn excluded_paths_are_not_watched() {
        let routes = Routes::new().exclude("/health");
        for path in
            ["/docs", "/docs/oauth2", "/redoc", "/openapi.json", "/favicon.ico", "/static/a.css", "/health"]
        {
            assert_eq!(find(&routes, path), None, "{path}");
        }
        assert_eq!(find(&routes, "/docsearch").as_deref(), Some("docsearch"));
        assert_eq!(find(&routes, "/healthy").as_deref(), Some("healthy"));
    }
}
