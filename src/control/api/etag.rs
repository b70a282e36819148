//! `ETag` and `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1): the tag of a resource is the revision in force.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::problem::ApiProblem;

/// The tag of a revision, as a header field.
pub fn etag(revision: u64) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{revision}\""))]
}

/// The revision that `If-Match` names; `None` if any will do. Errors: the value is neither one strong tag nor `*`.
/// Revisions only grow, so that a list of tags would serve no purpose.
pub fn if_match(headers: &HeaderMap) -> Result<Option<u64>, ApiProblem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("").trim();
    if text == "*" && second.is_none() {
        return Ok(None);
    }
    let opaque = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match (opaque, second) {
        (Some(tag), None) if !tag.contains('"') => {
            let plain = tag.bytes().all(|byte| byte.is_ascii_digit());
            match tag.parse() {
                Ok(revision) if plain => Ok(Some(revision)),
                _ => Err(ApiProblem::new(
                    StatusCode::PRECONDITION_FAILED,
                    format!("If-Match: no revision has the tag \"{tag}\""),
                )),
            }
        }
        _ => Err(ApiProblem::new(
            StatusCode::BAD_REQUEST,
            "If-Match must be one entity tag in quotes, as an ETag of this API, or *",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_table() {
        type Row<'a> = (&'a [&'a str], Result<Option<u64>, u16>);
        let rows: [Row; 9] = [
            (&[], Ok(None)),
            (&["*"], Ok(None)),
            (&["\"7\""], Ok(Some(7))),
            (&["7"], Err(400)),
            (&["W/\"7\""], Err(400)),
            (&["\"7\", \"8\""], Err(400)),
            (&["\"7\"", "\"8\""], Err(400)),
            (&["\"x\""], Err(412)),
            (&["\"+7\""], Err(412)),
        ];
        for (values, expected) in rows {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, value.parse().unwrap());
            }
            let got = if_match(&headers).map_err(|problem| problem.status().as_u16());
            assert_eq!(got, expected, "{values:?}");
        }
        assert_eq!(etag(7)[0].1, "\"7\"");
    }
}
