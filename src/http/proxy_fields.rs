//! The names of fields in which a proxy tells of its client, or of the URL that the client asked for: backends believe
//! them, so that only proxies before palantir may give them.

use super::names;

/// Beginnings that only such names have.
const STARTS: [&[u8]; 14] = [
    b"x-forwarded-",
    // The client's certificate and its connection, as nginx, HAProxy, Apache, WebLogic and load balancers call them.
    b"ssl-client-",
    b"tls-client-",
    b"x-ssl-",
    b"x-tls-",
    b"x-mtls-",
    b"x-client-cert-",
    b"x-amzn-mtls-",
    b"cf-client-cert-",
    b"wl-proxy-",
    // The user whom a platform in front of the backend has logged in.
    b"x-amzn-oidc-",
    b"x-goog-authenticated-user-",
    b"x-ms-client-principal-",
    b"tailscale-user-",
];

/// The beginning of the names in which a web server tells WebSphere of the client. Nobody takes another sign for it.
const WEBSPHERE: &[u8] = b"$ws";

/// The others: who the client is, by which scheme it came, and which URL it asked for, in words that backends take for
/// a proxy's.
const LISTED: [&[u8]; 87] = [
    b"forwarded",
    b"forwarded-for",
    b"x-forwarded",
    b"x-original-forwarded-for",
    // The client's address, of all whom backends have believed.
    b"x-real-ip",
    b"x-real-port",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-remote-ip",
    b"x-remote-addr",
    b"x-remote-host",
    b"remote-addr",
    b"remote-host",
    b"x-originating-ip",
    b"x-proxyuser-ip",
    b"x-envoy-external-address",
    b"x-envoy-internal",
    b"x-azure-clientip",
    b"x-azure-socketip",
    b"x-appengine-user-ip",
    b"client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"cf-connecting-ipv6",
    b"fastly-client-ip",
    b"fly-client-ip",
    b"do-connecting-ip",
    b"proxy-client-ip",
    b"real-ip",
    b"x-true-ip",
    b"x-source-ip",
    b"x-client-address",
    b"x-original-remote-addr",
    b"x-appengine-remote-addr",
    b"x-vercel-forwarded-for",
    b"x-forward-for",
    b"x-forward-host",
    b"x-forward-port",
    b"x-forward-proto",
    b"x-nf-client-connection-ip",
    b"x-sucuri-clientip",
    b"x-cdn-src-ip",
    b"cdn-src-ip",
    b"cdn-real-ip",
    b"ali-cdn-real-ip",
    b"cf-pseudo-ipv4",
    b"cloudfront-viewer-address",
    // The client's certificate (RFC 9440 section 4: to be dropped where it comes from a stranger).
    b"client-cert",
    b"client-cert-chain",
    b"proxy-client-cert",
    b"x-client-cert",
    b"x-client-certificate",
    b"x-client-cn",
    b"x-client-dn",
    b"x-client-issuer",
    b"x-client-issuer-dn",
    b"x-client-s-dn",
    b"x-client-subject",
    b"x-client-subject-dn",
    b"x-client-verify",
    b"x-client-verified",
    b"x-ms-client-principal",
    b"ssl-client",
    b"x-arr-clientcert",
    // Scheme and URL.
    b"x-scheme",
    b"x-ssl",
    b"x-https",
    b"fastly-ssl",
    b"x-url-scheme",
    b"front-end-https",
    b"x-arr-ssl",
    b"cf-visitor",
    b"cloudfront-forwarded-proto",
    b"x-host",
    b"x-real-host",
    b"x-envoy-original-path",
    b"x-envoy-original-host",
    // Gateways make of it the variable that names the proxy for their own requests.
    b"proxy",
    b"x-original-url",
    b"x-original-uri",
    b"x-original-host",
    b"x-original-for",
    b"x-original-prefix",
    b"x-original-proto",
    b"x-original-scheme",
    b"x-http-host-override",
    b"x-rewrite-url",
];

/// Ends of names that tell a client's address or scheme whatever stands before them.
const ENDS: [&[u8]; 6] = [
    b"-client-ip",
    b"-clientip",
    b"-real-ip",
    b"-connecting-ip",
    b"-forwarded-for",
    b"-forwarded-proto",
];

/// By the length of a name: the first letters that are looked for, one bit per letter. The last one is for all names of
/// more than [`LONGEST`] bytes.
pub(super) type Initials = [u32; LONGEST + 2];

/// Bytes of the longest name that has a place of its own in [`Initials`].
pub(super) const LONGEST: usize = 19;

/// The first letters of the names of [`LISTED`].
const LISTED_INITIALS: Initials = {
    let mut initials = [0; LONGEST + 2];
    let mut at = 0;
    while at < LISTED.len() {
        initials[place(LISTED[at].len())] |= bit(LISTED[at][0]);
        at += 1;
    }
    initials
};

/// The first letters of all these names, but for those that are known by their end.
pub(super) const INITIALS: Initials = {
    let mut initials = LISTED_INITIALS;
    let mut at = 0;
    while at < STARTS.len() {
        let mut len = STARTS[at].len() + 1;
        while len < initials.len() {
            initials[len] |= bit(STARTS[at][0]);
            len += 1;
        }
        at += 1;
    }
    let mut len = WEBSPHERE.len() + 1;
    while len < initials.len() {
        initials[len] |= bit(WEBSPHERE[0]);
        len += 1;
    }
    initials
};

/// Where in [`Initials`] names of this length stand.
#[inline(always)]
pub(super) const fn place(len: usize) -> usize {
    if len > LONGEST { LONGEST + 1 } else { len }
}

/// The bit of a name's first letter, whatever its case. Signs share the bits of letters.
#[inline(always)]
pub(super) const fn bit(first: u8) -> u32 {
    1 << (first % 32)
}

/// Whether a name with these last two bytes may end as one of [`ENDS`]: few others do.
#[inline(always)]
pub(super) fn may_end_so([a, b]: [u8; 2]) -> bool {
    matches!(
        [a | 0x20, b | 0x20],
        [b'i', b'p'] | [b'o', b'r'] | [b't', b'o']
    )
}

/// Whether a field of this name is one of those that only proxies before palantir are believed.
pub fn is_from_proxies(name: &[u8]) -> bool {
    let begins_so =
        |start: &&[u8]| name.len() > start.len() && names::same(&name[..start.len()], start);
    let ends_so =
        |end: &&[u8]| name.len() > end.len() && names::same(&name[name.len() - end.len()..], end);
    STARTS.iter().any(begins_so)
        || ENDS.iter().any(ends_so)
        || is_listed(name)
        || is_of_websphere(name)
}

fn is_listed(name: &[u8]) -> bool {
    let initials = LISTED_INITIALS[place(name.len())];
    let may_be = name
        .first()
        .is_some_and(|first| initials & bit(*first) != 0);
    may_be && LISTED.iter().any(|known| names::same(name, known))
}

/// Whether a name begins as those of WebSphere's fields do.
pub fn is_of_websphere(name: &[u8]) -> bool {
    let start = name.get(..WEBSPHERE.len());
    name.len() > WEBSPHERE.len() && start.is_some_and(|start| start.eq_ignore_ascii_case(WEBSPHERE))
}

#[cfg(test)]
mod tests {
    use crate::http::fields::{KnownField, recognise};

    #[test]
    fn what_only_proxies_say_is_recognised_in_any_form() {
        for name in [
            "Forwarded",
            "X-Real-IP",
            "x_real_ip",
            "x.real.ip",
            "X-Forwarded-Port",
            "X_FORWARDED-prefix",
            "x-forwarded-a",
            "X-Forwarded-Client-Cert",
            "X-Forwarded-Preferred_Username",
            "X-Original-URL",
            "x-original_uri",
            "X-Original-Host",
            "X-Rewrite-URL",
            "True-Client-IP",
            "true_client_ip",
            "CF-Connecting-IP",
            "CF_Connecting-IPv6",
            "Client-Cert",
            "X-Original-Forwarded-For",
            "x.forwarded",
            "X-Scheme",
            "X-True-Client-IP",
            "X_Real_Client_IP",
            "Incap-Client-IP",
            "Akamai-Client-IP",
            "HTTP-Client-IP",
            "Q-Connecting-IP",
            "CloudFront-Forwarded-Proto",
            "Any.Forwarded_For",
            "x-ssl-client-s-dn",
            "SSL_Client_Cert",
            "Proxy",
            "ssl-client-subject-dn",
            "ssl-client-issuer-dn",
            "X-SSL-Client",
            "X_SSL_Issuer",
            "X-SSL",
            "X-Client-DN",
            "WL-Proxy-Client-Cert",
            "WL_Proxy_SSL",
            "WL-Proxy-Client-IP",
            "Proxy-Client-Cert",
            "$WSRA",
            "$wsis",
            "$WSCC",
            "X-Amzn-Mtls-Clientcert",
            "X-Amzn-Mtls-Clientcert-Subject",
            "X-TLS-Client-Cert",
            "X-HTTP-Host-Override",
            "X-Original-Scheme",
            "X-Forward-Proto",
            "Fastly-SSL",
            "Remote_Addr",
            "X-MS-Client-Principal",
            "X-MS-Client-Principal-Id",
            "X-Goog-Authenticated-User-Email",
        ] {
            assert_eq!(
                recognise(name.as_bytes()),
                KnownField::FromProxies,
                "{name}"
            );
        }
        for name in [
            "x-recipient-ip",
            "zip",
            "ship",
            "wi-fi-ip",
            "unreal-ip",
            "sponsor",
            "photo",
            "proxies",
            "x-ssl-",
            "x-sslclient",
            "ssl-version",
            "$ws",
            "$wxyz",
            "-wsra",
            "_WSRA",
            "dwsra",
            "x-original-filename",
            "x-client-version",
            "x-client-id",
            "sec-websocket-key",
            "client",
            "x-hosted",
            "forwards",
            "x-forwarded-",
            "x-forwards",
            "x-real-id",
            "x-requested-with",
        ] {
            assert_eq!(recognise(name.as_bytes()), KnownField::Other, "{name}");
        }
    }
}
