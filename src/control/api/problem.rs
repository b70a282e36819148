//! Refusals of the API: `application/problem+json` (RFC 9457), with the fields at fault.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::config_store::{Problem, ProblemKind};

/// The media type of every refusal.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The reason why a request was refused (RFC 9457). A refused request has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiProblem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The reason of the refusal, as a text for people.
    detail: String,
    /// The mistakes, field by field; empty if no field is at fault.
    errors: Vec<FieldError>,
}

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The path of the field: `weight`, `health_check.path`, `pools[0].name`.
    pub field: String,
    /// The mistake, and a value that would be right.
    pub detail: String,
}

impl ApiProblem {
    /// A refusal that concerns no field.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> ApiProblem {
        debug_assert!(
            status.is_client_error() || status.is_server_error(),
            "a problem is no success"
        );
        ApiProblem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Refused"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// The value of one field is not right.
    pub fn of_field(field: impl Into<String>, detail: impl Into<String>) -> ApiProblem {
        let (field, detail) = (field.into(), detail.into());
        ApiProblem::of_fields(vec![FieldError { field, detail }])
    }

    /// Values of these fields are not right.
    pub fn of_fields(errors: Vec<FieldError>) -> ApiProblem {
        let detail: Vec<String> = errors.iter().map(FieldError::line).collect();
        ApiProblem {
            errors,
            ..ApiProblem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.join("; "))
        }
    }

    /// Something that was named does not exist.
    pub fn absent(detail: impl Into<String>) -> ApiProblem {
        ApiProblem::new(StatusCode::NOT_FOUND, detail)
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Renames a field in the refusal to the name that the caller knows.
    pub fn rename_field(mut self, from: &str, to: &str) -> ApiProblem {
        for error in &mut self.errors {
            if error.field == from {
                let line = error.line();
                error.field = to.to_owned();
                self.detail = self.detail.replacen(&line, &error.line(), 1);
            }
        }
        self
    }
}

impl FieldError {
    fn line(&self) -> String {
        match self.field.as_str() {
            "" => self.detail.clone(),
            field => format!("{field}: {}", self.detail),
        }
    }
}

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> ApiProblem {
        let status = match problem.kind {
            ProblemKind::Absent => StatusCode::NOT_FOUND,
            ProblemKind::Conflict | ProblemKind::Full => StatusCode::CONFLICT,
            ProblemKind::Changed => StatusCode::PRECONDITION_FAILED,
            ProblemKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ProblemKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let detail = problem.to_string();
        let mistakes = problem.mistakes.into_iter();
        let errors = mistakes
            .filter(|(field, _)| !field.is_empty())
            .map(|(field, detail)| FieldError { field, detail })
            .collect();
        ApiProblem {
            errors,
            ..ApiProblem::new(status, detail)
        }
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), axum::Json(&self)).into_response();
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            let challenge = HeaderValue::from_static("Bearer realm=\"palantir\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        let rows = [
            (ProblemKind::Absent, 404),
            (ProblemKind::Conflict, 409),
            (ProblemKind::Full, 409),
            (ProblemKind::Changed, 412),
            (ProblemKind::Invalid, 422),
            (ProblemKind::Failed, 500),
        ];
        for (kind, status) in rows {
            let problem = ApiProblem::from(Problem::new(kind, "no"));
            assert_eq!(problem.status().as_u16(), status);
            assert_eq!((problem.detail.as_str(), problem.errors.len()), ("no", 0));
        }
    }

    #[test]
    fn fields_are_named_in_errors_and_in_words() {
        let problem = ApiProblem::from(Problem {
            kind: ProblemKind::Invalid,
            mistakes: vec![
                ("addr".to_owned(), "must be an address".to_owned()),
                (String::new(), "too much".to_owned()),
            ],
        })
        .rename_field("addr", "url");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["errors"][0]["field"], "url");
        assert_eq!(json["errors"].as_array().unwrap().len(), 1);
        assert_eq!(json["detail"], "url: must be an address; too much");
        assert_eq!(json["title"], "Unprocessable Entity");
    }
}
