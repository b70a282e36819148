//! `[acme]`

use super::{ChallengeKind, list, optional, required, word};
use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Section, Setting, Value, words};

/// `[acme]`
pub static ACME: Section = Section {
    name: "AcmeSettings",
    title: "[acme]",
    doc: "The authority that certificates are ordered from (RFC 8555), for the hosts that `automatic` of a listener's \
          `tls` names.",
    settings: || SETTINGS.iter().collect(),
};

static EAB: Section = Section {
    name: "ExternalAccountSettings",
    title: "acme.eab",
    doc: "The table `eab` of `[acme]`: what binds the account to a customer of the authority (RFC 8555 section 7.3.4).",
    settings: || EAB_SETTINGS.iter().collect(),
};

static SETTINGS: [Setting; 7] = [
    required(
        "terms_of_service_agreed",
        Kind::True,
        "Whether you agree to the authority's terms of service. It must be `true`.",
    ),
    required(
        "state_dir",
        Kind::text("", "/var/lib/palantir/acme"),
        "Folder in which the account and the certificates are kept. A folder that is not there is made.",
    ),
    Setting::new(
        "directory",
        Kind::text(
            "^https://",
            "https://acme-v02.api.letsencrypt.org/directory",
        ),
        Absent::Is(Value::Text(default::ACME_DIRECTORY)),
        "URL of the authority's directory. The default is that of Let's Encrypt.",
    ),
    list(
        "contacts",
        &Kind::text("^mailto:", "mailto:ops@example.com"),
        limits::ACME_CONTACTS,
        "Addresses that the authority may write to.",
    ),
    optional(
        "ca",
        Kind::FILE,
        "the authorities of the machine count",
        "File with the authorities of the directory's own certificate.",
    ),
    word(
        "challenge",
        words::<ChallengeKind>,
        "tls-alpn-01",
        "Proof to the authority that a name is ours: with `\"tls-alpn-01\"` the authority asks on port 443, with \
         `\"http-01\"` on port 80, in cleartext.",
    ),
    optional(
        "eab",
        Kind::Table(&EAB),
        "the account has no external account",
        "External account, for authorities that want to know their customers.",
    ),
];

static EAB_SETTINGS: [Setting; 2] = [
    required("key_id", Kind::text("", "kid-1"), "Identifier of the key."),
    required(
        "hmac_key_file",
        Kind::FILE,
        "File with the key, in base64url.",
    ),
];
