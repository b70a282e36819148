//! An authority (RFC 8555) that demands no proof from clients, and issues whatever a test wants.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    CertificateParams, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use serde_json::{Value, json};

use super::origin::{Origin, Received};
use super::place::Directory;
use super::tls::{Authority, Server};

/// The certificate that the next orders get.
#[derive(Clone)]
pub enum Given {
    /// A certificate for this name, with its beginning and end in seconds from now.
    Certificate(&'static str, i64, i64),
    /// A body with this text.
    Text(&'static str),
}

/// A running authority.
pub struct OddAuthority {
    pub directory: Directory,
    origin: Origin,
    desk: Arc<Desk>,
}

struct Desk {
    given: Mutex<Given>,
    issuer: Arc<Authority>,
    /// The result of the latest order.
    certificate: Mutex<String>,
    finalized: AtomicUsize,
}

impl OddAuthority {
    pub fn start(given: Given) -> OddAuthority {
        let directory = Directory::new();
        let issuer = Arc::new(Authority::new());
        directory.write("ca.crt", &issuer.pem());
        let desk = Arc::new(Desk {
            given: Mutex::new(given),
            issuer: issuer.clone(),
            certificate: Mutex::default(),
            finalized: AtomicUsize::new(0),
        });
        let own = Server::new(&issuer.issue(&["authority.example"]));
        let serving = desk.clone();
        let origin = own.start(move |link| {
            while let Some(request) = link.request() {
                if !link.try_send(serving.answer(&request)) {
                    return;
                }
            }
        });
        OddAuthority {
            directory,
            origin,
            desk,
        }
    }

    pub fn give(&self, given: Given) {
        *self.desk.given.lock().unwrap() = given;
    }

    /// The number of orders that were answered with a certificate or a body.
    pub fn given(&self) -> usize {
        self.desk.finalized.load(SeqCst)
    }

    pub fn issuer(&self) -> &Authority {
        &self.desk.issuer
    }

    /// The section `[acme]` for this authority. The authority's name must lead to its address: see
    /// [`OddAuthority::name_line`].
    pub fn section(&self, state: &Directory) -> String {
        self.section_in(state.path().to_str().unwrap())
    }

    /// The section of [`OddAuthority::section`], with this folder.
    pub fn section_in(&self, state: &str) -> String {
        let (port, dir) = (self.origin.addr.port(), self.directory.path().display());
        format!(
            "[acme]\ndirectory = \"https://authority.example:{port}/dir\"\nca = \"{dir}/ca.crt\"\n\
             terms_of_service_agreed = true\nstate_dir = \"{state}\"\n"
        )
    }

    /// The line for [`super::shim::Names`] that leads the authority's name to its address.
    pub fn name_line(&self) -> String {
        format!("authority.example {}\n", self.origin.addr.ip())
    }
}

impl Desk {
    fn answer(&self, request: &Received) -> Vec<u8> {
        let path = request
            .head
            .first_line()
            .split(' ')
            .nth(1)
            .unwrap_or_default();
        let host = request.head.field("host").unwrap_or_default();
        let url = |path: &str| format!("https://{host}{path}");
        let order = |status: &str| {
            json!({
                "status": status, "authorizations": [url("/authz")], "finalize": url("/finalize"),
                "certificate": (status == "valid").then(|| url("/cert")),
            })
        };
        let (status, body) = match path {
            "/dir" => (
                "200 OK",
                json!({"newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order")}),
            ),
            "/account" => ("201 Created", json!({"status": "valid"})),
            "/order" => {
                self.certificate.lock().unwrap().clear();
                ("201 Created", order("ready"))
            }
            "/authz" => (
                "200 OK",
                json!({"status": "valid", "challenges": [],
                       "identifier": {"type": "dns", "value": "a.example"}}),
            ),
            "/finalize" => {
                *self.certificate.lock().unwrap() = self.issue(&request.body);
                self.finalized.fetch_add(1, SeqCst);
                ("200 OK", order("valid"))
            }
            "/cert" => return http("200 OK", &url("/one"), &self.certificate.lock().unwrap()),
            _ if self.certificate.lock().unwrap().is_empty() => ("200 OK", order("ready")),
            _ => ("200 OK", order("valid")),
        };
        let body = if path == "/nonce" {
            String::new()
        } else {
            body.to_string()
        };
        http(status, &url("/one"), &body)
    }

    /// The answer to a request for a certificate.
    fn issue(&self, finalize: &[u8]) -> String {
        let (name, from, to) = match &*self.given.lock().unwrap() {
            Given::Text(text) => return text.to_string(),
            Given::Certificate(name, from, to) => (*name, *from, *to),
        };
        let decode = |text: &Value| URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap();
        let message: Value = serde_json::from_slice(finalize).unwrap();
        let payload: Value = serde_json::from_slice(&decode(&message["payload"])).unwrap();
        let key = PublicKey::of_request(&decode(&payload["csr"]));
        let at = |offset: i64| {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs();
            date_time_ymd(1970, 1, 1) + Duration::from_secs(now.saturating_add_signed(offset))
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (at(from), at(to));
        self.issuer.sign(&params, &key)
    }
}

fn http(status: &str, location: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nReplay-Nonce: nonce\r\nLocation: {location}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    text.into_bytes()
}

/// A point on P-256.
struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Finds the key in a request for a certificate (PKCS #10): a bit string of 65 bytes, the first of which is 4.
    fn of_request(request: &[u8]) -> PublicKey {
        let begin = [0x03, 0x42, 0x00, 0x04];
        let at = request
            .windows(4)
            .position(|bytes| bytes == begin)
            .expect("a key on P-256");
        PublicKey(request[at + 3..][..65].to_vec())
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
