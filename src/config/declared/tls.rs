//! `tls` of a listener, of the management API, and of a pool.

use super::{Demand, TEXT, UnknownSni, file, flag, list, optional, required, word};
use crate::base::limits;
use crate::base::setting::{Absent, Kind, Section, Setting, Value, words};
use crate::tls::{Alpn, MinVersion};

/// `tls` of a listener.
pub static SERVER_TLS: Section = Section {
    name: "ListenerTlsSettings",
    title: "listeners.tls",
    doc: "The table `tls` of a listener, and of `[admin]`: how TLS is spoken with clients. Files are PEM unless said \
          otherwise.",
    settings: || SERVER_SETTINGS.iter().collect(),
};

/// One entry of `certificates`.
static CERTIFICATE: Section = Section {
    name: "CertificateSettings",
    title: "listeners.tls.certificates",
    doc: "An entry of the list `certificates`: a certificate that a listener shows, and its key.",
    settings: || CERTIFICATE_SETTINGS.iter().collect(),
};

/// `tls` of a pool.
pub static CLIENT_TLS: Section = Section {
    name: "TlsSettings",
    title: "pools.tls",
    doc: "The table `tls` of a pool, and of a `health_check`: how TLS is spoken with backends.",
    settings: || CLIENT_SETTINGS.iter().collect(),
};

/// The name of a field that carries a fact of a client's certificate.
const FIELD: Kind = Kind::text("", "x-client-subject");
/// One host name.
const HOST: Kind = Kind::text("", "api.example.com");

static SERVER_SETTINGS: [Setting; 13] = [
    word(
        "min_version",
        words::<MinVersion>,
        "1.2",
        "Lowest version of TLS that is spoken.",
    ),
    Setting::new(
        "alpn",
        Kind::List {
            of: &Kind::Word(words::<Alpn>),
            least: 1,
            most: 2,
        },
        Absent::Is(Value::List(&["h2", "http/1.1"])),
        "Protocols that are offered by ALPN, by preference. A listener with `http2 = false` does not offer `\"h2\"`. \
         Where `\"http/1.1\"` is not offered, a client that offers no protocol is refused, too.",
    ),
    file(
        "client_ca",
        "clients are not asked for a certificate",
        "File with the authorities of clients' certificates. A certificate in it that is no authority's lets in the \
         client that has it, and vouches for no other. A certificate is verified at every handshake, also when a ticket \
         resumes a connection. A certificate that ends while its connection lasts ends nothing.",
    ),
    word(
        "client_cert",
        words::<Demand>,
        "required",
        "Whether every client must show a certificate. The setting needs `client_ca`. Either way a request for \
         another host than the handshake's is answered 421; and so is, without a name in the handshake, a request for \
         a host that the default certificate is not for.",
    ),
    word(
        "unknown_sni",
        words::<UnknownSni>,
        "default",
        "Treatment of a handshake without a name, or for a name that no certificate is for: `\"default\"` shows the \
         first certificate, `\"refuse\"` ends the handshake.",
    ),
    flag(
        "session_tickets",
        true,
        "Whether clients may resume TLS, on any core.",
    ),
    optional(
        "client_subject_header",
        FIELD,
        "backends do not learn the subject",
        "Request field in which a backend learns the subject of the client's certificate (RFC 4514). A client whose \
         certificate has no subject is refused. The setting needs `client_ca`.",
    ),
    optional(
        "client_san_header",
        FIELD,
        "backends do not learn the names",
        "Request field in which a backend learns the alternative names of the client's certificate: `DNS:a.example, \
         URI:spiffe://example/a, IP:192.0.2.1, email:a@example`. A comma, blank or backslash in a name is written \
         `\\2c`, `\\20`, `\\5c`. The setting needs `client_ca`.",
    ),
    optional(
        "client_issuer_header",
        FIELD,
        "backends do not learn the issuer",
        "Request field in which a backend learns the issuer of the client's certificate (RFC 4514). The setting needs \
         `client_ca`.",
    ),
    optional(
        "client_fingerprint_header",
        FIELD,
        "backends do not learn the SHA-256",
        "Request field in which a backend learns the SHA-256 of the client's certificate, in hexadecimal digits. The \
         setting needs `client_ca`.",
    ),
    optional(
        "automatic",
        Kind::List {
            of: &HOST,
            least: 1,
            most: limits::CERTIFICATES,
        },
        "no certificate is ordered for the listener",
        "Host names whose certificates palantir orders from the authority of `[acme]`; beside `certificates` or \
         instead of it. `[admin]` does not have the setting.",
    ),
    optional(
        "certificates",
        Kind::List {
            of: &Kind::Table(&CERTIFICATE),
            least: 1,
            most: limits::CERTIFICATES,
        },
        "the listener shows the certificates of `automatic`, which must be set",
        "Certificates that the listener shows. The first one is the default.",
    ),
    file(
        "ocsp",
        "nothing is stapled",
        "File with an OCSP response (DER) that is stapled to the first certificate.",
    ),
];

static CERTIFICATE_SETTINGS: [Setting; 4] = [
    required(
        "cert",
        Kind::FILE,
        "File with the certificate and its chain.",
    ),
    required(
        "key",
        Kind::FILE,
        "File with the private key (PKCS#8, PKCS#1 or SEC1).",
    ),
    list(
        "names",
        &HOST,
        limits::CERTIFICATE_NAMES,
        "Host names that the certificate is chosen for; `*.example.com` stands for one label. Without a \
         name here, the certificate is chosen for the names that it has itself.",
    ),
    file(
        "ocsp",
        "nothing is stapled",
        "File with an OCSP response (DER) that is stapled to the certificate.",
    ),
];

static CLIENT_SETTINGS: [Setting; 5] = [
    flag(
        "verify",
        true,
        "Whether backends must prove who they are. With `false` anybody on the way can read and change everything.",
    ),
    optional(
        "ca",
        Kind::FILE,
        "the authorities of the machine count",
        "File with the authorities of the backends' certificates, and with certificates of backends themselves. A \
         backend that shows one of these certificates is believed, whether the certificate is self-signed or issued by \
         an authority; its dates and its name must still be right. The common name counts if there is no alternative \
         name. A certificate that does not say that it is an authority's vouches for no other.",
    ),
    file(
        "cert",
        "palantir shows no certificate",
        "File with the certificate that palantir shows a backend. The setting needs `key`.",
    ),
    file(
        "key",
        "palantir shows no certificate",
        "File with the key of `cert`. The setting needs `cert`.",
    ),
    optional(
        "server_name",
        TEXT,
        "each backend is asked for its own name",
        "Name that backends are asked for and verified as.",
    ),
];
