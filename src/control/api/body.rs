//! The content of a request: its JSON, its query and the names in its path. Each is taken strictly, and what is not
//! right is a problem with the field's name.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::timeout;

use super::problem::ApiProblem;
use crate::base::limits;
use crate::base::quantity::show_time;

/// The body as JSON.
pub struct Json<T>(pub T);

/// The body as it came.
pub struct TextBody(pub Bytes);

/// The query of the target; parameters that are not known are refused.
pub struct Query<T>(pub T);

/// The names in the path, decoded.
pub struct PathNames<T>(pub T);

impl<S: Sync> FromRequest<S> for TextBody {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, _: &S) -> Result<TextBody, ApiProblem> {
        read(request).await.map(TextBody)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, ApiProblem> {
        parse(&read(request).await?).map(Json)
    }
}

impl<S: Sync, T: DeserializeOwned> OptionalFromRequest<S> for Json<T> {
    type Rejection = ApiProblem;

    /// An empty body is `None`.
    async fn from_request(request: Request, _: &S) -> Result<Option<Json<T>>, ApiProblem> {
        match read(request).await? {
            bytes if bytes.is_empty() => Ok(None),
            bytes => parse(&bytes).map(|value| Some(Json(value))),
        }
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, ApiProblem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(rejection) => Err(ApiProblem::new(
                StatusCode::BAD_REQUEST,
                rejection.body_text(),
            )),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathNames<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathNames<T>, ApiProblem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(names)) => Ok(PathNames(names)),
            Err(rejection) => Err(ApiProblem::new(
                StatusCode::BAD_REQUEST,
                rejection.body_text(),
            )),
        }
    }
}

/// Parses a JSON object. Errors: 400 if it is no JSON, 422 if it is no object or a field is not what it should be.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiProblem> {
    // A list would do for serde, which takes its items for the fields in their order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(ApiProblem::of_field("", "must be an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = take(&mut reader)?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// Takes a value out of JSON. Errors: as of [`parse`].
pub fn take<'de, T, D>(json: D) -> Result<T, ApiProblem>
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error = serde_json::Error>,
{
    serde_path_to_error::deserialize(json).map_err(|error| {
        let field = error.path().to_string();
        match error.inner().classify() {
            // A dot stands for the whole.
            Category::Data if field == "." => ApiProblem::of_field("", error.inner().to_string()),
            Category::Data => ApiProblem::of_field(field, error.inner().to_string()),
            _ => not_json(error.inner()),
        }
    })
}

fn not_json(error: &serde_json::Error) -> ApiProblem {
    ApiProblem::new(
        StatusCode::BAD_REQUEST,
        format!("the body is not JSON: {error}"),
    )
}

/// Reads the whole body, within a bound of size and of time.
async fn read(request: Request) -> Result<Bytes, ApiProblem> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits::ADMIN_BODY_BYTES) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limits::ADMIN_BODY_BYTES);
    let patience = Duration::from_secs(limits::ADMIN_BODY_SECS);
    match timeout(patience, body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(ApiProblem::new(
            StatusCode::BAD_REQUEST,
            format!("the body cannot be read: {error}"),
        )),
        Err(_) => Err(ApiProblem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not come within {}", show_time(patience)),
        )),
    }
}

fn too_large() -> ApiProblem {
    let most = limits::ADMIN_BODY_BYTES;
    ApiProblem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("a body has at most {most} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        within: Option<Inside>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inside {
        count: u8,
    }

    #[test]
    fn mistakes_name_their_field() {
        let rows = [
            ("", 400, None),
            ("{", 400, None),
            ("{} {}", 400, None),
            ("[1]", 422, Some("")),
            (r#"{"within":{"count":300}}"#, 422, Some("within.count")),
            (r#"{"within":{"amount":3}}"#, 422, Some("within.amount")),
            (r#"{"beyond":{}}"#, 422, Some("beyond")),
        ];
        for (text, status, field) in rows {
            let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.status().as_u16(), status, "{text}");
            let json = serde_json::to_value(&problem).unwrap();
            assert_eq!(json["errors"][0]["field"].as_str(), field, "{text}");
        }
        let parsed = parse::<Outer>(br#"{"within":{"count":3}}"#).unwrap();
        assert_eq!(parsed.within, Some(Inside { count: 3 }));
    }
}
