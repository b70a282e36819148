//! Decisions about requests as clients send them: the outcome of each, and the key and the fields for its backend.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::balance::{AlgorithmSettings, HashKey, hash_key};
use crate::base::addresses::ListenAddr;
use crate::http::refusal::Refusal;
use crate::net::{RemoteAddr, connect_tcp};
use crate::route::RouteTable;
use crate::snapshot::{Pool, Snapshot, sample};
use crate::tls::Unidentified;
use crate::worker::downstream::{AcceptedClient, Arrival, Secured};
use crate::worker::multiplex::tests::block;
use crate::worker::sample::{listener, run_worker_with};

type Found = Result<Vec<(String, String)>, Unidentified>;

/// The outcome of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    NeedMore,
    Waits,
    Replied(u16),
    Forwarded,
    Failed(Failure),
}

/// A decision: its outcome, and the key and the head of a request that is forwarded.
struct Decided {
    outcome: Outcome,
    key: u64,
    head: String,
}

impl Decided {
    fn without_head(outcome: Outcome) -> Decided {
        Decided {
            outcome,
            key: 0,
            head: String::new(),
        }
    }

    fn with_head(outcome: Outcome, request: &PreparedRequest) -> Decided {
        Decided {
            outcome,
            key: request.key,
            head: String::from_utf8_lossy(request.bytes.filled()).to_ascii_lowercase(),
        }
    }
}

fn listen_addr() -> ListenAddr {
    ListenAddr::Tcp(([127, 0, 0, 1], 1).into())
}

/// Two routes: `/a`, whose bodies are bounded, and one below it that wants a certificate.
fn with_routes(snapshot: &mut Snapshot) {
    sample::with_route(snapshot);
    let certified = sample::route_of(snapshot);
    certified.prefix = "/a/certified/only".to_owned();
    certified.wants_certificate = true;
    let certified = snapshot.routes.remove(0);
    sample::with_route(snapshot);
    let plain = sample::route_of(snapshot);
    plain.prefix = "/a".to_owned();
    plain.request_body_bytes = 100;
    snapshot.routes.push(certified);
    let keys = ["/a", "/a/certified/only"].map(|prefix| (None, prefix.to_owned()));
    snapshot.route_table = Arc::new(RouteTable::new(&keys));
    snapshot.listeners = vec![sample::listener(listen_addr())];
}

/// Decides on a request that a client sends whose arrival is changed like this.
async fn decided(shard: &Rc<Shard>, request: &str, change: impl FnOnce(&mut Arrival)) -> Decided {
    let (listening, _) = listener();
    let socket = connect_tcp(listening.local_addr().unwrap()).await.unwrap();
    let peer = RemoteAddr::Tcp(([127, 0, 0, 1], 9).into());
    let mut arrival = Arrival {
        peer,
        connection_peer: peer,
        reached: None,
        listener: shard.config().listener(&listen_addr()).unwrap().clone(),
        secured: None,
        upstreams: Rc::default(),
    };
    change(&mut arrival);
    let accepted = AcceptedClient {
        socket,
        arrival,
        received: block(request.replace('\n', "\r\n").as_bytes()),
    };
    let client = Client::new(accepted, shard);
    client.begin_request();
    let mut exchange = shard.begin_exchange();
    match decide(shard, &client, &mut exchange) {
        Ok(Decision::NeedMore) => Decided::without_head(Outcome::NeedMore),
        Ok(Decision::Reply(reply)) => Decided::without_head(Outcome::Replied(reply.status)),
        Ok(Decision::Wait(request)) => Decided::with_head(Outcome::Waits, &request),
        Ok(Decision::Forward(request, _)) => Decided::with_head(Outcome::Forwarded, &request),
        Ok(
            Decision::Serve(..)
            | Decision::Follow(_)
            | Decision::Recall(_)
            | Decision::Lead(..)
            | Decision::Slices(..),
        ) => {
            panic!("no route has a cache")
        }
        Err(failure) => Decided::without_head(Outcome::Failed(failure)),
    }
}

/// Decides on a request alone, in a pool and a snapshot that are changed like this.
fn decided_alone(
    request: &str,
    pool: impl FnOnce(&mut Pool),
    adapt: impl FnOnce(&mut Snapshot),
    change: impl FnOnce(&mut Arrival),
) -> Decided {
    let adapt = |snapshot: &mut Snapshot| {
        with_routes(snapshot);
        adapt(snapshot);
    };
    run_worker_with(&sample::addrs(2), pool, adapt, async |shard| {
        decided(&shard, request, change).await
    })
}

fn secured(identity: Option<Found>) -> Option<Rc<Secured>> {
    Some(Rc::new(Secured {
        server_name: None,
        certificate: None,
        identity,
        client_chain: None,
    }))
}

#[test]
fn each_request_has_its_outcome() {
    use Outcome::{Failed, Forwarded, NeedMore, Replied};
    let refused = |refusal| Failed(Failure::Refused(refusal));
    let rows = [
        // The head.
        ("GET /a HTTP/1.1\nHost: x\n", NeedMore),
        ("GET /a HTTP/1.1\nHost: x\n\n", Forwarded),
        ("GET /a HTTP/1.3\nHost: x\n\n", Forwarded),
        ("GET /a HTTP/1.1\n\n", refused(Refusal::MissingHost)),
        (
            "GET /a HTTP/1.1\nHost: x\nA: \u{1}\n\n",
            refused(Refusal::BadFieldValue),
        ),
        (
            "GET /a HTTP/1.1\nHost: x\nConnection: upgrade\nUpgrade: b\n\nearly",
            Failed(Failure::EarlyUpgradeBytes),
        ),
        // The route.
        ("GET /b HTTP/1.1\nHost: x\n\n", Failed(Failure::NoRoute)),
        (
            "GET /../a HTTP/1.1\nHost: x\n\n",
            refused(Refusal::PathAboveRoot),
        ),
        (
            "GET /a/certified%2Fonly HTTP/1.1\nHost: x\n\n",
            refused(Refusal::AmbiguousRoute),
        ),
        (
            "POST /a HTTP/1.1\nHost: x\nContent-Length: 100\n\n",
            Forwarded,
        ),
        (
            "POST /a HTTP/1.1\nHost: x\nContent-Length: 101\n\n",
            Failed(Failure::BodyTooLarge),
        ),
        (
            "OPTIONS /a HTTP/1.1\nHost: x\nMax-Forwards: 1\n\n",
            Forwarded,
        ),
        (
            "OPTIONS /a HTTP/1.1\nHost: x\nMax-Forwards: 0\n\n",
            Replied(200),
        ),
        (
            "OPTIONS /a HTTP/1.1\nHost: x\nMax-Forwards: b\n\n",
            refused(Refusal::BadMaxForwards),
        ),
    ];
    let run = async |shard: Rc<Shard>| {
        for (request, expected) in rows {
            let outcome = decided(&shard, request, |_| ()).await.outcome;
            assert_eq!(outcome, expected, "{request}");
        }
    };
    run_worker_with(&sample::addrs(2), |_| (), with_routes, run);
}

#[test]
fn a_challenge_is_answered_to_whoever_asks_for_its_token() {
    let rows = [
        ("GET", "token", Outcome::Replied(200)),
        ("HEAD", "token", Outcome::Replied(200)),
        ("POST", "token", Outcome::Failed(Failure::NoRoute)),
        ("GET", "other", Outcome::Failed(Failure::NoRoute)),
    ];
    for (method, token, expected) in rows {
        let path = format!("/.well-known/acme-challenge/{token}");
        let request = format!("{method} {path} HTTP/1.1\nHost: x\n\n");
        let mut open = None;
        let adapt = |snapshot: &mut Snapshot| {
            open = Some(snapshot.challenges.answer("token", "answer"));
        };
        let decided = decided_alone(&request, |_| (), adapt, |_| ());
        assert_eq!(decided.outcome, expected, "{request}");
        drop(open);
    }
}

#[test]
fn a_route_may_want_a_certificate_that_says_who_the_client_is() {
    use Outcome::{Failed, Forwarded};
    let rows = [
        (None, Failed(Failure::CertificateMissing)),
        (secured(None), Failed(Failure::CertificateMissing)),
        (
            secured(Some(Err(Unidentified::NoSubject))),
            Failed(Failure::SubjectMissing),
        ),
        (
            secured(Some(Err(Unidentified::Unusable))),
            Failed(Failure::CertificateUnusable),
        ),
        (secured(Some(Ok(Vec::new()))), Forwarded),
    ];
    let request = "GET /a/certified/only HTTP/1.1\nHost: x\n\n";
    let run = async |shard: Rc<Shard>| {
        for ((secured, expected), row) in rows.into_iter().zip(1..) {
            let change = |arrival: &mut Arrival| arrival.secured = secured;
            let outcome = decided(&shard, request, change).await.outcome;
            assert_eq!(outcome, expected, "row {row}");
        }
    };
    run_worker_with(&sample::addrs(2), |_| (), with_routes, run);
}

#[test]
fn a_listener_may_tolerate_control_bytes_in_cookies() {
    let request = "GET /a HTTP/1.1\nHost: x\nCookie: a=\u{1}\n\n";
    let refused = Outcome::Failed(Failure::Refused(Refusal::BadFieldValue));
    for (tolerates, expected) in [(false, refused), (true, Outcome::Forwarded)] {
        let adapt = |snapshot: &mut Snapshot| {
            snapshot.listeners[0].tolerates_control_bytes = tolerates;
        };
        let decided = decided_alone(request, |_| (), adapt, |_| ());
        assert_eq!(decided.outcome, expected, "{tolerates}");
    }
}

#[test]
fn the_key_of_a_request_is_what_its_pool_hashes() {
    let header = HashKey::Header("x-user".to_owned());
    let cookie = HashKey::Cookie("id".to_owned());
    let far = |ip: &str| RemoteAddr::Tcp((ip.parse::<IpAddr>().unwrap(), 9).into());
    let rows: [(HashKey, &str, RemoteAddr, Option<&[u8]>); 7] = [
        (HashKey::Path, "", RemoteAddr::Unix, Some(b"/a/b")),
        (
            header.clone(),
            "X-User: me\n",
            RemoteAddr::Unix,
            Some(b"me"),
        ),
        (header, "", RemoteAddr::Unix, Some(b"")),
        (cookie, "Cookie: z=1; id=7\n", RemoteAddr::Unix, Some(b"7")),
        (
            HashKey::ClientAddress,
            "",
            far("10.0.0.1"),
            Some(&[10, 0, 0, 1]),
        ),
        (
            HashKey::ClientAddress,
            "",
            far("::1"),
            Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ),
        (HashKey::ClientAddress, "", RemoteAddr::Unix, None),
    ];
    for (key, lines, peer, hashed) in rows {
        let request = format!("GET /a/x/../b HTTP/1.1\nHost: x\n{lines}\n");
        let algorithms = [
            ("consistent_hash", hashed.map_or(0, hash_key)),
            ("round_robin", 0),
        ];
        for (name, expected) in algorithms {
            let algorithm = AlgorithmSettings::new(name, key.clone()).unwrap();
            let pool = |pool: &mut Pool| pool.algorithm = algorithm;
            let decided = decided_alone(&request, pool, |_| (), |arrival| arrival.peer = peer);
            assert_eq!(decided.outcome, Outcome::Forwarded, "{name} {key:?}");
            assert_eq!(decided.key, expected, "{name} {key:?} {lines}");
        }
    }
}

#[test]
fn only_a_certificate_names_a_client_to_its_backend() {
    let found = vec![("x-name".to_owned(), "me".to_owned())];
    let rows = [
        (None, false),
        (secured(None), false),
        (secured(Some(Ok(found))), true),
    ];
    for (secured, is_named) in rows {
        let request = "GET /a HTTP/1.1\nHost: x\nX-Name: forged\n\n";
        let adapt = |snapshot: &mut Snapshot| {
            snapshot.identity_names = ["x-name".to_owned()].into_iter().collect();
        };
        let decided = decided_alone(request, |_| (), adapt, |arrival| arrival.secured = secured);
        let head = decided.head;
        assert!(!head.contains("forged"), "{head}");
        assert_eq!(head.contains("\r\nx-name: me\r\n"), is_named, "{head}");
    }
}
