//! The cost of a look-up of a route among 1,000 of them. To reach: 150 ns.

use divan::{Bencher, black_box};
use palantir::route::RouteTable;

const ROUTES: usize = 1_000;

type Rules = Vec<(Option<String>, String)>;
type Requests = Vec<(String, String)>;

fn main() {
    divan::main();
}

/// Looks requests up in turn, so that neither the branch predictor nor the cache knows the next one.
fn look_up(bencher: Bencher, rules: &Rules, requests: &Requests) {
    let table = RouteTable::new(rules);
    assert!(
        requests
            .iter()
            .all(|(host, path)| table.find(host.as_bytes(), path.as_bytes()).is_some())
    );
    let mut next = 0;
    bencher.bench_local(move || {
        next = if next + 7 < requests.len() {
            next + 7
        } else {
            (next + 7) % requests.len()
        };
        let (host, path) = &requests[next];
        table.find(black_box(host.as_bytes()), black_box(path.as_bytes()))
    });
}

/// 100 hosts, a fifth of them wildcards, with ten prefixes each.
#[divan::bench(sample_size = 1000)]
fn hosts_and_prefixes(bencher: Bencher) {
    let mut rules = Rules::new();
    let mut requests = Requests::new();
    for index in 0..ROUTES {
        let host = index / 10;
        let prefix = [
            "/",
            "/api",
            "/api/v1",
            "/api/v2/users",
            "/static",
            "/v1/orders",
            "/v1/payments",
            "/health",
            "/admin/console",
            "/images",
        ][index % 10];
        let (pattern, named) = match host % 5 {
            0 => (
                format!("*.team{host}.example.com"),
                format!("www.team{host}.example.com"),
            ),
            _ => (
                format!("service{host}.example.com"),
                format!("service{host}.example.com"),
            ),
        };
        rules.push((Some(pattern), prefix.to_owned()));
        requests.push((
            named,
            format!("{}/items/{index}", prefix.trim_end_matches('/')),
        ));
    }
    look_up(bencher, &rules, &requests);
}

/// One host, 1,000 prefixes.
#[divan::bench(sample_size = 1000)]
fn prefixes_alone(bencher: Bencher) {
    let prefix = |index: usize| format!("/api/v{}/resource-number-{index}", index % 3);
    let rules = (0..ROUTES).map(|index| (None, prefix(index))).collect();
    let requests = (0..ROUTES)
        .map(|index| ("api.example.com".to_owned(), format!("{}/7", prefix(index))))
        .collect();
    look_up(bencher, &rules, &requests);
}

/// 1,000 exact hosts, each with a route of its own.
#[divan::bench(sample_size = 1000)]
fn hosts_alone(bencher: Bencher) {
    let host = |index: usize| format!("tenant-{index}.api.example.com");
    let rules = (0..ROUTES)
        .map(|index| (Some(host(index)), "/".to_owned()))
        .collect();
    let requests = (0..ROUTES)
        .map(|index| (host(index), "/v1/users/7".to_owned()))
        .collect();
    look_up(bencher, &rules, &requests);
}

/// Every prefix of a path twelve segments deep is a route, beside 988 others; the path goes on beyond.
#[divan::bench(sample_size = 1000)]
fn deep_paths(bencher: Bencher) {
    let deep = |depth: usize| "/segment".repeat(depth);
    let mut rules: Rules = (1..=12).map(|depth| (None, deep(depth))).collect();
    rules.extend((12..ROUTES).map(|index| (None, format!("/other/{index}"))));
    let requests = (1..=20)
        .map(|depth| ("api.example.com".to_owned(), deep(depth)))
        .collect();
    look_up(bencher, &rules, &requests);
}

/// Wildcards on eight levels of one name, and hosts between them.
#[divan::bench(sample_size = 1000)]
fn wildcard_levels(bencher: Bencher) {
    wildcards(bencher, |_| "/level".to_owned());
}

/// A look-up where only the shortest wildcard has a prefix that matches, and the others are asked first.
#[divan::bench(sample_size = 1000)]
fn wildcard_fallbacks(bencher: Bencher) {
    wildcards(bencher, |levels| format!("/level/{levels}"));
}

fn wildcards(bencher: Bencher, prefix: impl Fn(usize) -> String) {
    let name = |levels: usize| format!("{}example.com", "label.".repeat(levels));
    let mut rules: Rules = (0..8)
        .map(|levels| (Some(format!("*.{}", name(levels))), prefix(levels)))
        .collect();
    rules.extend(
        (8..ROUTES).map(|index| (Some(format!("host{index}.example.org")), "/".to_owned())),
    );
    let requests = (1..=8)
        .map(|levels| (name(levels), "/level/0/x".to_owned()))
        .collect();
    look_up(bencher, &rules, &requests);
}

/// No route: the longest way to the answer that there is none is that of a known host with an unknown path.
#[divan::bench(sample_size = 1000)]
fn no_route(bencher: Bencher) {
    let host = |index: usize| format!("tenant-{index}.api.example.com");
    let rules: Rules = (0..ROUTES)
        .map(|index| (Some(host(index)), "/api".to_owned()))
        .collect();
    let table = RouteTable::new(&rules);
    let path = "/apix/".repeat(100);
    bencher.bench_local(move || {
        table.find(
            black_box(b"tenant-77.api.example.com"),
            black_box(path.as_bytes()),
        )
    });
}
