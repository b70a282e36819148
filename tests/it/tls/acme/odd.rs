//! Certificates of an odd authority, and clocks that are wrong.

use super::*;

const DAY: i64 = 86_400;

const YEARS: i64 = 10 * 365 * DAY;

/// A proxy that orders a certificate for `a.example` from this authority, shows the certificate at `tls`, and reads
/// this clock.
fn of_odd(odd: &OddAuthority, state: &Directory, clock: &Clock, tls: SocketAddr) -> (Proxy, Names) {
    let names = Names::new(&odd.name_line());
    let mut command = command();
    names.apply(&mut command);
    clock.apply(&mut command);
    let config = format!(
        "{}[[listeners]]\naddr = \"{tls}\"\ntls = {{ automatic = [\"a.example\"] }}\n{ROUTE}",
        odd.section(state)
    );
    let proxy = Proxy::launch(command, tls, &config);
    proxy.wait_until_it_accepts();
    (proxy, names)
}

/// The certificate that the listener shows to a client that trusts the authority.
fn shown(odd: &OddAuthority, tls: SocketAddr) -> Option<CertificateDer<'static>> {
    let dialer = Dialer::new(odd.issuer(), BOTH);
    let stream = dialer.connect(tls, "a.example").ok()?;
    Some(stream.conn.peer_certificates()?[0].clone().into_owned())
}

#[test]
fn a_good_certificate_is_not_given_up_for_a_useless_one() {
    // Two thirds of the certificate's time have passed, so that the next start must renew it.
    let odd = OddAuthority::start(Given::Certificate("a.example", -40 * DAY, 20 * DAY - 600));
    let (state, tls, clock) = (Directory::new(), free_addr(), Clock::ahead(-3_600));
    let (mut proxy, names) = of_odd(&odd, &state, &clock, tls);
    eventually("there is a certificate", || shown(&odd, tls).is_some());
    assert_eq!(proxy.stop(), 0);
    drop(names);
    let (kept, path) = (shown_by(&odd, &state, tls), file(&state, "a.example.pem"));
    let before = fs::read(&path).unwrap();
    let useless = [
        (
            Given::Certificate("other.test", -DAY, 90 * DAY),
            "is for other names: other.test",
        ),
        (
            Given::Text("<html>Please accept our new terms</html>"),
            "holds no certificate",
        ),
        (
            Given::Certificate("a.example", -90 * DAY, -DAY),
            "no better than the stored one",
        ),
        (
            Given::Certificate("a.example", 5 * DAY, 90 * DAY),
            "no better than the stored one",
        ),
    ];
    for (given, why) in useless {
        let tls = free_addr();
        odd.give(given);
        let (mut proxy, _names) = of_odd(&odd, &state, &Clock::ahead(0), tls);
        proxy.wait_for_log(&["a.example", "unusable", why]);
        assert_eq!(fs::read(&path).unwrap(), before, "{why}");
        assert_eq!(shown(&odd, tls).as_ref(), Some(&kept), "{why}");
        assert_eq!(proxy.stop(), 0);
    }
    odd.give(Given::Certificate("a.example", 0, 6 * DAY));
    let (_proxy, _names) = of_odd(&odd, &state, &Clock::ahead(0), tls);
    eventually("a good one takes its place", || {
        shown(&odd, tls).is_some_and(|now| now != kept)
    });
}

/// The stored certificate, as a proxy without orders shows it.
fn shown_by(odd: &OddAuthority, state: &Directory, tls: SocketAddr) -> CertificateDer<'static> {
    let (mut proxy, _names) = of_odd(odd, state, &Clock::ahead(-3_600), tls);
    let mut found = None;
    eventually("it is shown", || {
        found = shown(odd, tls);
        found.is_some()
    });
    assert_eq!(proxy.stop(), 0);
    found.unwrap()
}

#[test]
fn a_clock_that_is_wrong_and_then_set_keeps_no_order_waiting() {
    for wrong in [YEARS, -YEARS, 3_600, -3_600] {
        let odd = OddAuthority::start(Given::Text("no"));
        let (state, tls, clock) = (Directory::new(), free_addr(), Clock::ahead(wrong));
        let (proxy, _names) = of_odd(&odd, &state, &clock, tls);
        proxy.wait_for_log(&["a.example", "no certificate:", "failures=1"]);
        odd.give(Given::Certificate("a.example", 0, 90 * DAY));
        clock.set(0);
        eventually("there is a certificate", || shown(&odd, tls).is_some());
        let given = odd.given();
        // Once there is a certificate, no jump of the clock leads to many orders.
        for wrong in [YEARS, -YEARS, 3_600, -3_600, 0] {
            clock.set(wrong);
            thread::sleep(Duration::from_millis(300));
        }
        assert!(odd.given() <= given + 1, "{}", proxy.log());
        assert!(shown(&odd, tls).is_some());
    }
}
