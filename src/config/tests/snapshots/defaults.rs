//! The defaults: a file with the fewest keys compiles to these values.

use super::*;

#[test]
fn the_short_form_is_complete_and_connections_have_defaults() {
    let snapshot = snapshot(SHORT);
    assert_eq!(snapshot.generation, 7);
    assert_eq!(listeners(&snapshot), ["0.0.0.0:80 (HTTP/2)"]);
    assert_eq!(snapshot.shutdown_timeout, secs(20));
    assert_eq!(snapshot.workers, 3);
    assert!(snapshot.trusted_proxies.is_empty() && snapshot.test_servers.is_empty());
    assert!(!snapshot.trusts_unix && snapshot.pass_fields.is_empty());
    assert_eq!((snapshot.access_log, snapshot.admin), (None, None));
    let traceparent = Traceparent {
        create: false,
        propagate: true,
    };
    assert_eq!(snapshot.traceparent, traceparent);
    let client = &snapshot.client;
    assert_eq!(
        (client.header_timeout, client.idle_timeout),
        (secs(10), secs(60))
    );
    assert_eq!(client.stream_stall, secs(300));
    let head = HeadLimits {
        head_bytes: 32_768,
        fields: 100,
        target_bytes: 8192,
    };
    assert_eq!(client.head, head);
    assert_eq!(client.requests_per_connection, u32::MAX);
    // Of 1064 descriptors, 64 are kept aside, 10 go to each of three workers, and a sixteenth each to probes and to
    // the management API. Clients may have half of the others, each listener all of it.
    let shares = Descriptors {
        sockets: 838,
        clients: 419,
        backends: 629,
        probes: 66,
        management: 66,
        test_servers: 0,
    };
    assert_eq!(snapshot.descriptors, shares);
    assert_eq!(snapshot.listeners[0].connections, usize::MAX);
    // Three quarters of what the process may have.
    assert_eq!(snapshot.memory_bytes, (1 << 30) / 100 * 75);
}

#[test]
fn the_short_form_is_complete_and_routes_have_defaults() {
    let snapshot = snapshot(SHORT);
    let route = &snapshot.routes[0];
    assert_eq!(
        (route.name.as_str(), route.prefix.as_str(), route.pool),
        ("/", "", PoolId(0))
    );
    assert_eq!(
        (route.retries, route.timeout, route.request_body_bytes),
        (1, None, u64::MAX)
    );
    assert!(!route.strip_prefix && !route.via && !route.answer_continue);
    assert!(!route.forwarded && !route.x_real_ip);
    assert!(route.rewrite_location && route.cookies.is_empty());
    assert_eq!(route.host_header, HostHeader::Backend);
    assert_eq!(
        (&route.request_fields, &route.response_fields),
        (&FieldEdits::default(), &FieldEdits::default())
    );
    let timeouts = &route.timeouts;
    assert_eq!(
        (timeouts.client_body, timeouts.connect),
        (secs(30), secs(2))
    );
    assert_eq!(
        (timeouts.upstream_response, timeouts.upstream_idle),
        (secs(60), secs(60))
    );
}

#[test]
fn the_short_form_is_complete_and_pools_have_defaults() {
    let snapshot = snapshot(SHORT);
    let pool = &snapshot.pools[0];
    assert_eq!(
        (pool.name.as_str(), pool.algorithm.name()),
        ("/", "round_robin")
    );
    assert_eq!(
        (pool.idle_connections, pool.keepalive, &pool.outlier),
        (1024, secs(60), &None)
    );
    assert_eq!(
        (pool.protocol, pool.proxy_protocol),
        (Protocol::Http1, None)
    );
    let kind = ProbeKind::Http {
        method: "GET".to_owned(),
        body_contains: None,
        path: "/health".to_owned(),
        expect: vec![(200, 299)],
    };
    let expected = HealthCheck {
        port: None,
        tls: ProbeTls::AsPool,
        host: None,
        headers: Vec::new(),
        kind,
        interval: secs(10),
        timeout: secs(2),
        timeout_again: secs(1),
        unhealthy_after: 3,
        healthy_after: 2,
    };
    for backend in &pool.backends {
        assert_eq!(backend.health_check.as_ref(), Some(&expected));
        assert_eq!((backend.draining, backend.remove_after), (false, None));
    }
    let backends: Vec<_> = pool
        .backends
        .iter()
        .map(|backend| (backend.label.as_str(), backend.weight))
        .collect();
    assert_eq!(backends, [("127.0.0.1:8001", 1), ("127.0.0.1:8002", 1)]);
    assert_eq!(pool.backends[0].max_connections, u32::MAX);
}
