//! Probes speak to a backend as requests do: over HTTP/1.1 or HTTP/2, in cleartext or with TLS.

use rcgen::{CertificateParams, KeyPair};

use crate::support::h2::frame::get;
use crate::support::nginx::Nginx;
use crate::support::place::{Directory, free_addr};
use crate::support::{Proxy, eventually};

/// An nginx that is well at `/well` and not at `/ill`, with a certificate for `a.example`.
fn backend(options: &str, directory: &Directory) -> (Nginx, String) {
    let addr = free_addr();
    let dir = directory.path().display();
    let server = format!(
        "listen {addr} {options}; ssl_certificate {dir}/cert; ssl_certificate_key {dir}/key;
         location = /well {{ return 204; }} location = /ill {{ return 500; }}
         location / {{ return 200 $server_protocol; }}"
    );
    (Nginx::start(&server), addr.to_string())
}

fn proxy(addr: &str, pool: &str, path: &str) -> Proxy {
    Proxy::start(&format!(
        "[[pools]]\nname = \"probed\"\nbackends = [\"{addr}\"]\n{pool}\n\
         health_check = {{ path = \"{path}\", expect = \"204\", interval_secs = 0.1, unhealthy_after = 1 }}\n\
         [[routes]]\npool = \"probed\"\n"
    ))
}

#[test]
fn every_way_of_speaking_to_a_backend_is_probed() {
    let directory = Directory::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    directory.write("cert", &params.self_signed(&key).unwrap().pem());
    directory.write("key", &key.serialize_pem());
    let ca = directory.path().join("cert");
    let tls = format!("tls = {{ ca = {ca:?}, server_name = \"a.example\" }}");
    let rows = [
        ("", "", "HTTP/1.1"),
        ("http2", "protocol = \"h2\"", "HTTP/2.0"),
        ("ssl", &tls, "HTTP/1.1"),
        (
            "ssl http2",
            &format!("protocol = \"h2\"\n{tls}"),
            "HTTP/2.0",
        ),
    ];
    for (options, pool, version) in rows {
        let (_nginx, addr) = backend(options, &directory);
        let ill = proxy(&addr, pool, "/ill");
        ill.wait_for_log(&["unhealthy", "answered 500"]);
        let well = proxy(&addr, pool, "/well");
        let mut client = well.h2();
        eventually("it is served", || {
            client.ask(&get("/", &[])).text() == version
        });
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(
            !well.log().contains("unhealthy"),
            "{options}: {}",
            well.log()
        );
    }
    // One whose certificate nobody vouches for.
    let (_nginx, addr) = backend("ssl", &directory);
    let proxy = proxy(&addr, "tls = { server_name = \"a.example\" }", "/well");
    proxy.wait_for_log(&["unhealthy", "no TLS"]);
    // The change reaches the workers a moment later.
    eventually("it gets no requests", || {
        proxy.ask(crate::support::get("/")).status() == 503
    });
}
