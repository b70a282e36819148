//! Files that are right but for the setting that a test puts into them.

pub(super) const LISTENER: &str = "[[listeners]]\naddr = '127.0.0.1:1'\n";
pub(super) const SOCKET: &str = "[[listeners]]\naddr = 'unix:/a'\n";
pub(super) const TLS: &str = "[[listeners]]\naddr = '127.0.0.1:1'\n[listeners.tls]\ncertificates = [{ cert = '/c', key = '/k' }]\n";
pub(super) const TLS_WITH_CA: &str = "[[listeners]]\naddr = '127.0.0.1:1'\n[listeners.tls]\nclient_ca = '/a'\ncertificates = [{ cert = '/c', key = '/k' }]\n";
pub(super) const ACME: &str = "[acme]\nterms_of_service_agreed = true\nstate_dir = '/s'\n";
pub(super) const CACHE: &str = "[cache]\nmax_size = '8MiB'\n";
pub(super) const POOL: &str = "[[pools]]\nname = 'a'\nbackends = ['a:1']\n";
pub(super) const CHECK: &str = "[[pools]]\nname = 'a'\nbackends = ['a:1']\n[pools.health_check]\n";
pub(super) const HTTP_CHECK: &str =
    "[[pools]]\nname = 'a'\nbackends = ['a:1']\n[pools.health_check]\npath = '/'\n";
pub(super) const ROUTE: &str = "[[routes]]\nbackend_addrs = ['a:1']\n";

/// The text before and behind a setting in a file that is right, and whose meaning depends on the setting alone. Rows
/// for one setting stand before the row for all settings of its section (`""`).
pub(super) const PLACES: &[(&str, &str, &str, &str)] = &[
    ("Settings", "", "", ""),
    ("ListenerSettings", "addr", "[[listeners]]\n", ""),
    (
        "ListenerSettings",
        "proxy_protocol_from",
        "[[listeners]]\naddr = '127.0.0.1:1'\nproxy_protocol = true\n",
        "",
    ),
    (
        "ListenerSettings",
        "https_port",
        "[[listeners]]\naddr = '127.0.0.1:1'\nredirect_to_https = true\n",
        "",
    ),
    ("ListenerSettings", "mode", SOCKET, ""),
    ("ListenerSettings", "owner", SOCKET, ""),
    ("ListenerSettings", "group", SOCKET, ""),
    ("ListenerSettings", "", LISTENER, ""),
    (
        "ListenerTlsSettings",
        "certificates",
        "[[listeners]]\naddr = '127.0.0.1:1'\n[listeners.tls]\n",
        "",
    ),
    ("ListenerTlsSettings", "automatic", TLS, ACME),
    ("ListenerTlsSettings", "client_ca", TLS, ""),
    ("ListenerTlsSettings", "client_cert", TLS_WITH_CA, ""),
    (
        "ListenerTlsSettings",
        "client_subject_header",
        TLS_WITH_CA,
        "",
    ),
    ("ListenerTlsSettings", "client_san_header", TLS_WITH_CA, ""),
    (
        "ListenerTlsSettings",
        "client_issuer_header",
        TLS_WITH_CA,
        "",
    ),
    (
        "ListenerTlsSettings",
        "client_fingerprint_header",
        TLS_WITH_CA,
        "",
    ),
    ("ListenerTlsSettings", "", TLS, ""),
    (
        "CertificateSettings",
        "cert",
        "[[listeners]]\naddr = '127.0.0.1:1'\n[[listeners.tls.certificates]]\nkey = '/k'\n",
        "",
    ),
    (
        "CertificateSettings",
        "key",
        "[[listeners]]\naddr = '127.0.0.1:1'\n[[listeners.tls.certificates]]\ncert = '/c'\n",
        "",
    ),
    (
        "CertificateSettings",
        "",
        "[[listeners]]\naddr = '127.0.0.1:1'\n[[listeners.tls.certificates]]\nkey = '/k'\ncert = '/c'\n",
        "",
    ),
    ("TicketSettings", "", "[tls]\n", ""),
    (
        "AcmeSettings",
        "terms_of_service_agreed",
        "[acme]\nstate_dir = '/s'\n",
        "",
    ),
    (
        "AcmeSettings",
        "state_dir",
        "[acme]\nterms_of_service_agreed = true\n",
        "",
    ),
    ("AcmeSettings", "", ACME, ""),
    (
        "ExternalAccountSettings",
        "key_id",
        "[acme.eab]\nhmac_key_file = '/h'\n",
        ACME,
    ),
    (
        "ExternalAccountSettings",
        "hmac_key_file",
        "[acme.eab]\nkey_id = 'k'\n",
        ACME,
    ),
    ("TimeoutSettings", "", "[timeouts]\n", ""),
    ("LimitSettings", "", "[limits]\n", ""),
    ("AccessLogSettings", "path", "[access_log]\n", ""),
    ("AccessLogSettings", "", "[access_log]\npath = '/l'\n", ""),
    (
        "AdminSettings",
        "mode",
        "[admin]\nlisten_addr = 'unix:/a'\n",
        "",
    ),
    (
        "AdminSettings",
        "owner",
        "[admin]\nlisten_addr = 'unix:/a'\n",
        "",
    ),
    (
        "AdminSettings",
        "group",
        "[admin]\nlisten_addr = 'unix:/a'\n",
        "",
    ),
    (
        "AdminSettings",
        "read_token_file",
        "[admin]\ntoken_file = '/t'\n",
        "",
    ),
    ("AdminSettings", "", "[admin]\n", ""),
    ("TracingSettings", "", "[tracing]\n", ""),
    ("TestServerSettings", "", "[test_server]\n", ""),
    ("CacheSettings", "max_size", "[cache]\n", ""),
    ("CacheSettings", "", CACHE, ""),
    (
        "CacheDiskSettings",
        "path",
        "[cache]\nmax_size = '8MiB'\n[cache.disk]\nmax_size = '1GiB'\n",
        "",
    ),
    (
        "CacheDiskSettings",
        "max_size",
        "[cache]\nmax_size = '8MiB'\n[cache.disk]\npath = '/d'\n",
        "",
    ),
    (
        "BackendEntry",
        "addr",
        "[[pools]]\nname = 'a'\n[[pools.backends]]\n",
        "",
    ),
    (
        "BackendEntry",
        "",
        "[[pools]]\nname = 'a'\n[[pools.backends]]\naddr = 'a:1'\n",
        "",
    ),
    (
        "OutlierSettings",
        "",
        "[[pools]]\nname = 'a'\nbackends = ['a:1']\n[pools.outlier]\n",
        "",
    ),
    (
        "TlsSettings",
        "cert",
        "[[pools]]\nname = 'a'\nbackends = ['a:1']\n[pools.tls]\nkey = '/k'\n",
        "",
    ),
    (
        "TlsSettings",
        "key",
        "[[pools]]\nname = 'a'\nbackends = ['a:1']\n[pools.tls]\ncert = '/k'\n",
        "",
    ),
    (
        "TlsSettings",
        "",
        "[[pools]]\nname = 'a'\nbackends = ['a:1']\n[pools.tls]\n",
        "",
    ),
    (
        "FieldSettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.request_headers]\n",
        "",
    ),
    (
        "RouteTimeoutSettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.timeouts]\n",
        "",
    ),
    (
        "RouteLimitSettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.limits]\n",
        "",
    ),
];

/// Places like [`PLACES`], for the cache of a route.
pub(super) const CACHE_PLACES: &[(&str, &str, &str, &str)] = &[
    ("RouteSettings", "cache", ROUTE, CACHE),
    (
        "RouteCacheSettings",
        "slice",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.cache]\nmax_object = '1GiB'\n",
        CACHE,
    ),
    (
        "RouteCacheSettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.cache]\n",
        CACHE,
    ),
    (
        "TtlSettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.cache.ttl]\n",
        CACHE,
    ),
    (
        "HeuristicSettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.cache.heuristic]\n",
        CACHE,
    ),
    (
        "VarySettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.cache.vary]\n",
        CACHE,
    ),
    (
        "BypassSettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.cache.bypass]\n",
        CACHE,
    ),
    (
        "PurgeMethodSettings",
        "",
        "[[routes]]\nbackend_addrs = ['a:1']\n[routes.cache.purge_method]\n",
        CACHE,
    ),
];

/// Places like [`PLACES`], for the sections of work that pools and routes share, and for probes.
pub(super) const WORK_PLACES: &[(&str, &str, &str, &str)] = &[
    (
        "PoolSettings",
        "name",
        "[[pools]]\nbackends = ['a:1']\n",
        "",
    ),
    ("PoolSettings", "backends", "[[pools]]\nname = 'a'\n", ""),
    (
        "PoolSettings",
        "hash_on",
        "[[pools]]\nname = 'a'\nbackends = ['a:1']\nbalancing_algorithm = 'consistent_hash'\n",
        "",
    ),
    ("PoolSettings", "", POOL, ""),
    (
        "RouteSettings",
        "hash_on",
        "[[routes]]\nbackend_addrs = ['a:1']\nbalancing_algorithm = 'consistent_hash'\n",
        "",
    ),
    (
        "RouteSettings",
        "pool",
        "[[routes]]\n",
        "[[pools]]\nname = 'api'\nbackends = ['a:1']\n",
    ),
    ("RouteSettings", "backend_addrs", "[[routes]]\n", ""),
    ("RouteSettings", "client_cert", ROUTE, TLS_WITH_CA),
    ("RouteSettings", "", ROUTE, ""),
    ("HealthCheckSettings", "path", CHECK, ""),
    ("HealthCheckSettings", "grpc", CHECK, ""),
    ("HealthCheckSettings", "", HTTP_CHECK, ""),
];
