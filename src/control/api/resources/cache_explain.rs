//! `/cache/explain`: how the cache would treat a request.

use std::sync::Arc;

use axum::extract::State;
use httparse::Header;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cache_purge::read_url;
use crate::base::limits;
use crate::base::time::unix_millis;
use crate::control::api::body::Query;
use crate::control::api::problem::ApiProblem;
use crate::control::api::{Api, ApiState};
use crate::control::cache::explain::{AskedRequest, Explanation, explain};
use crate::http::fields::is_token;

/// The resource `/cache/explain`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Question {
    /// The URL of the request.
    #[param(example = "https://shop.example/img/1")]
    url: String,
    /// The method: GET without it.
    method: Option<String>,
    /// Fields of the request, one in a line.
    #[param(example = "Accept-Encoding: gzip")]
    header: Option<String>,
}

/// Explains how the cache would treat a request now
///
/// Nothing is sent and nothing changes.
#[utoipa::path(get, path = "/cache/explain", tag = "cache", params(Question),
    responses((status = 200, body = Explanation),
        (status = 422, description = "A value is not right; see errors", body = ApiProblem,
            content_type = "application/problem+json")))]
async fn show(
    State(api): Api,
    Query(question): Query<Question>,
) -> Result<axum::Json<Explanation>, ApiProblem> {
    let url = read_url("url", &question.url)?;
    let method = question.method.as_deref().unwrap_or("GET");
    if !is_token(method.as_bytes()) {
        return Err(ApiProblem::of_field(
            "method",
            "must be a method such as GET",
        ));
    }
    let fields = read_fields(question.header.as_deref().unwrap_or_default())?;
    let asked = AskedRequest {
        method,
        url: &url,
        fields: &fields,
    };
    let in_force = api.in_force();
    let store = api.sources.store.as_deref();
    let explanation = explain(store, &in_force.snapshot, &asked, unix_millis());
    Ok(axum::Json(explanation))
}

fn read_fields(text: &str) -> Result<Vec<Header<'_>>, ApiProblem> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        is_token(name.as_bytes()).then_some(Header {
            name,
            value: value.trim().as_bytes(),
        })
    });
    let fields: Option<Vec<_>> = fields.collect();
    let most = limits::HEAD_FIELDS;
    fields.filter(|fields| fields.len() <= most).ok_or_else(|| {
        let right = format!("must have lines such as Accept: text/html, {most} at most");
        ApiProblem::of_field("header", right)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_table() {
        let rows = [
            ("", Some(vec![])),
            ("A: b\r\nC:d\n", Some(vec![("A", "b"), ("C", "d")])),
            ("A:", Some(vec![("A", "")])),
            ("A", None),
            ("A b: c", None),
            (": c", None),
        ];
        for (text, expected) in rows {
            let found = read_fields(text).ok();
            let found = found.map(|fields| {
                let fields = fields.iter();
                let pairs = fields.map(|field| (field.name, str::from_utf8(field.value).unwrap()));
                pairs.collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{text:?}");
        }
        assert!(read_fields(&"a: b\n".repeat(limits::HEAD_FIELDS + 1)).is_err());
    }
}
