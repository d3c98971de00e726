//! Checks the bearer token of a request.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::error::ApiError;
use crate::state::AppState;
use crate::tokens::Scope;

/// Passes on a request whose token has `scope`. Answers others 401 or 403 without reading the body.
pub(super) async fn authorize(
    State((state, scope)): State<(AppState, Scope)>,
    request: Request,
    next: Next,
) -> Response {
    let tokens = state.tokens();
    if tokens.is_empty() {
        return next.run(request).await;
    }
    let allowed = bearer_token(request.headers()).map(|given| tokens.allow(given, scope));
    let (status, challenge, detail) = match allowed {
        Some(Some(true)) => return next.run(request).await,
        Some(Some(false)) => {
            let scope = scope.name();
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            (StatusCode::FORBIDDEN, challenge, format!("the token lacks the scope `{scope}`"))
        }
        Some(None) => {
            let challenge = "Bearer error=\"invalid_token\"".to_owned();
            (StatusCode::UNAUTHORIZED, challenge, "the bearer token is unknown".to_owned())
        }
        None => {
            let detail = "the request needs a bearer token in the header `authorization`".to_owned();
            (StatusCode::UNAUTHORIZED, "Bearer".to_owned(), detail)
        }
    };
    let mut response = ApiError::Status(status, detail).into_response();
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Returns the token of `authorization: Bearer TOKEN`.
fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_may_have_any_case() {
        for (value, token) in [
            ("Bearer x", Some("x")),
            ("bearer  x ", Some("x")),
            ("Basic x", None),
            ("Bearer", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            assert_eq!(bearer_token(&headers), token.map(str::as_bytes), "{value:?}");
        }
    }
}
