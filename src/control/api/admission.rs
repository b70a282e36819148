//! Ends connections of the API that were made when the API demanded less of its clients, or something else.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ApiProblem;
use crate::control::change_request::{InForce, Standing};
use crate::snapshot::ServerTls;

/// A connection's.
#[derive(Clone)]
pub struct ConnectionAdmission {
    /// The settings by which TLS clients were checked when the connection was accepted.
    tls: Option<ServerTls>,
    standing: Standing,
}

impl ConnectionAdmission {
    /// The admission of a connection that is accepted now, by the configuration in force.
    pub fn now(standing: Standing) -> ConnectionAdmission {
        let tls = standing.borrow().snapshot.admin_tls.clone();
        ConnectionAdmission { tls, standing }
    }

    /// `None`: the connection is in cleartext.
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// Waits until the API demands something else.
    pub async fn end(&self) {
        let mut standing = self.standing.clone();
        // Without a sender nothing changes any more.
        if standing.wait_for(|now| !self.holds(now)).await.is_err() {
            std::future::pending().await
        }
    }

    /// The time for which requests under way may still last.
    pub fn patience(&self) -> std::time::Duration {
        self.standing.borrow().snapshot.shutdown_timeout
    }

    fn holds(&self, now: &InForce) -> bool {
        match (&self.tls, &now.snapshot.admin_tls) {
            (Some(tls), Some(now)) => tls.demands_as_much_as(now),
            (None, None) => true,
            _ => false,
        }
    }
}

/// Passes a request on as long as its connection may stay. Once another process has taken over, the answer is the last
/// one on the connection: the next connection reaches the new process.
pub async fn check(
    State(admission): State<ConnectionAdmission>,
    request: Request,
    next: Next,
) -> Response {
    let holds = admission.holds(&admission.standing.borrow());
    if holds {
        let mut response = next.run(request).await;
        if admission.standing.borrow().retired {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        return response;
    }
    let why = "the management API demands other certificates by now: connect again";
    ApiProblem::new(StatusCode::MISDIRECTED_REQUEST, why).into_response()
}
