//! The live page, in a real browser.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;

use crate::support::admin::{Admin, board, script};
use crate::support::browser::Browser;
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Client, Link, Origin, Proxy, eventually, get};

const A: &str = "127.0.0.1:9001";
const B: &str = "127.0.0.1:9002";
const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";

/// The cell of a backend.
fn cell(backend: &str) -> String {
    format!("[data-backend='{backend}']")
}

fn opened(admin: &Admin) -> Browser {
    let browser = Browser::start();
    browser.open(&format!("http://{}/", admin.addr));
    browser
}

#[test]
fn it_shows_every_backend_and_says_at_once_when_one_goes_down() {
    let admin = Admin::start(
        free_addr(),
        script("api", &[(A, "healthy"), (B, "healthy")]),
    );
    let browser = opened(&admin);
    browser.wait_for("#link", "live");
    for words in [
        "healthy",
        "1,234",
        "1.5ms",
        "12ms",
        "Weight 3",
        "connect refused",
    ] {
        browser.wait_for(&cell(A), words);
    }
    for words in ["4,321", "99", "46ms"] {
        browser.wait_for("#figures", words);
    }
    browser.wait_for("#cores", "33 %");
    browser.wait_for("#latency", "46 ms");
    let down = json!({"time": 1_700_000_001.0, "pool": "api", "backend": B, "from": "healthy", "to": "unhealthy",
        "reason": "no answer within 5 s"});
    admin.change(|script| {
        // The news is sent once: it does not take another message to be seen.
        script.only_news = true;
        script.board = board("api", &[(A, "healthy"), (B, "unhealthy")]);
        script.board["transitions"] = json!([down]);
    });
    browser.wait_for(&cell(B), "unhealthy");
    browser.wait_for("#transitions", "no answer within 5 s");
    browser.wait_for("#backends-count", "1 of 2 healthy");
    assert_eq!(browser.script("return document.title"), "(1) palantir");
    let spoken = browser.script("return document.getElementById('news').textContent");
    assert!(
        spoken.as_str().unwrap().contains("is unhealthy"),
        "{spoken}"
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn draining_and_weighing_by_click() {
    let admin = Admin::start(
        free_addr(),
        script("a/b c", &[(A, "healthy"), (B, "healthy")]),
    );
    let browser = opened(&admin);
    browser.wait_for("#link", "live");
    browser.click(&format!("[aria-label='Drain {B}']"));
    browser.wait_for("#notices", "drains");
    admin.change(|script| script.board = board("a/b c", &[(A, "healthy"), (B, "draining")]));
    browser.wait_for(&cell(B), "draining");
    browser.click(&format!("[aria-label='Undrain {B}']"));
    browser.wait_for("#notices", "takes requests again");
    browser.click(&format!("{} .acts button", cell(A)));
    browser.script("document.getElementById('weight').value = ''");
    browser.write("#weight", &format!("7{ENTER}"));
    browser.wait_for("#notices", "has weight 7");
    // Only the last healthy one is asked about.
    browser.click(&format!("[aria-label='Drain {A}']"));
    browser.wait_for("#drain-dialog", "last backend of its pool");
    browser.click("#drain-dialog [data-close]");
    let asked: Vec<_> = admin
        .asked()
        .into_iter()
        .map(|one| (one.line, one.body))
        .collect();
    let path = |port: u16| format!("PATCH /pools/a%2Fb%20c/servers/127.0.0.1%3A{port}");
    let expected = [
        (path(9002), json!({"drain": true})),
        (path(9002), json!({"drain": false})),
        (path(9001), json!({"weight": 7})),
    ];
    assert_eq!(asked, expected);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_refusal_lists_every_mistake() {
    let admin = Admin::start(
        free_addr(),
        script("api", &[(A, "healthy"), (B, "healthy")]),
    );
    let browser = opened(&admin);
    browser.wait_for("#link", "live");
    let errors =
        json!([{"field": "drain", "detail": "not now"}, {"field": "", "detail": "<b>no</b>"}]);
    admin.change(|script| script.answer = (422, json!({"detail": "two", "errors": errors})));
    browser.click(&format!("[aria-label='Drain {B}']"));
    browser.wait_for("#notices", "was not drained");
    browser.wait_for("#notices", "drain: not now");
    browser.wait_for("#notices", "<b>no</b>");
}

#[test]
fn it_works_by_keyboard() {
    let admin = Admin::start(
        free_addr(),
        script("api", &[(A, "healthy"), (B, "healthy")]),
    );
    let browser = opened(&admin);
    browser.wait_for(&cell(B), "healthy");
    browser.press("/9002");
    eventually("only one backend is shown", || {
        browser.script("return document.querySelectorAll('.cell:not([hidden])').length") == 1
    });
    let focused = "return document.activeElement.getAttribute('aria-label') ?? ''";
    let wanted = format!("Drain {B}");
    eventually("tab leads to the button", || {
        browser.press(TAB);
        browser.script(focused) == wanted.as_str()
    });
    let outline = "return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.script(outline), "solid", "the focus is seen");
    // Figures go on coming; the focus stays where it is.
    std::thread::sleep(Duration::from_millis(600));
    browser.press(ENTER);
    browser.wait_for("#notices", "drains");
    assert_eq!(admin.asked()[0].body, json!({"drain": true}));
}

#[test]
fn it_survives_a_restart_of_the_server() {
    let addr = free_addr();
    let admin = Admin::start(addr, script("api", &[(A, "healthy")]));
    let browser = opened(&admin);
    browser.wait_for("#link", "live");
    drop(admin);
    browser.wait_for("#link", "reconnecting");
    browser.wait_for("#stale", "No news since");
    browser.wait_for(&cell(A), "healthy");
    let mut next = script("api", &[(A, "ejected")]);
    next.board["version"] = "0.2.0".into();
    let _admin = Admin::start(addr, next);
    browser.wait_for("#link", "live");
    browser.wait_for(&cell(A), "ejected");
    browser.wait_for("#notices", "palantir is now version 0.2.0");
    assert_eq!(browser.text("#stale"), "");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn it_asks_for_a_token_and_uses_it() {
    let mut guarded = script("api", &[(A, "healthy"), (B, "healthy")]);
    guarded.token = Some("s3cret".to_owned());
    let admin = Admin::start(free_addr(), guarded);
    let browser = opened(&admin);
    browser.wait_for("#token-dialog", "a token is needed");
    browser.write("#token", &format!("s3cret{ENTER}"));
    browser.wait_for("#link", "live");
    browser.click(&format!("[aria-label='Drain {A}']"));
    browser.wait_for("#notices", "drains");
    assert_eq!(
        admin.asked()[0].authorization.as_deref(),
        Some("Bearer s3cret")
    );
    assert_eq!(
        browser.script("return localStorage.length + document.cookie.length"),
        0
    );
}

#[test]
fn a_reload_shows_what_it_changes_and_can_be_on_trial() {
    let admin = Admin::start(free_addr(), script("api", &[(A, "healthy")]));
    let browser = opened(&admin);
    browser.wait_for("#link", "live");
    admin.change(|script| script.answer = (200, json!({"lines": ["+ 127.0.0.1:9003"]})));
    browser.click("#reload-open");
    browser.wait_for("#reload-diff", "+ 127.0.0.1:9003");
    admin.change(|script| {
        script.answer = (
            200,
            json!({"revision": 2, "changed": true, "notes": ["the file wins"]}),
        )
    });
    browser.click("#reload-do");
    browser.wait_for("#notices", "the file wins");
    browser.wait_for("#trial", "on trial");
    browser.click("#trial-keep");
    browser.wait_for("#notices", "stays");
    let asked: Vec<_> = admin
        .asked()
        .into_iter()
        .map(|one| (one.line, one.body))
        .collect();
    let expected = [
        ("GET /config/diff".to_owned(), json!(null)),
        ("POST /reload".to_owned(), json!({"confirm_secs": 60})),
        ("POST /reload/confirm".to_owned(), json!({})),
    ];
    assert_eq!(asked, expected);
}

#[test]
fn names_are_never_markup() {
    let name = "<img src=x onerror=\"document.title='broken'\">";
    let admin = Admin::start(free_addr(), script(name, &[(name, "healthy")]));
    let browser = opened(&admin);
    browser.wait_for("#pools h3", name);
    browser.wait_for("#pools h4", name);
    assert_eq!(browser.script("return document.images.length"), 0);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn it_fits_a_phone() {
    let long =
        "a-very-long-name-of-a-backend.in-a-long-domain.example.com:65535 (192.168.100.100:65535)";
    let admin = Admin::start(
        free_addr(),
        script("api", &[(A, "healthy"), (long, "unhealthy")]),
    );
    let browser = opened(&admin);
    browser.wait_for(&cell(A), "healthy");
    browser.resize(360, 740);
    let overflow = "return document.documentElement.scrollWidth - innerWidth";
    eventually("nothing is wider than the screen", || {
        browser.script(overflow) == 0
    });
    browser.click(&format!("[aria-label='Weight 3 of {A}: change']"));
    browser.wait_for("#weight-dialog", "Set weight");
    assert_eq!(browser.script(overflow), 0);
}

/// A backend that says its name, or fails while it is ill.
fn backend(name: &'static str, ill: &Arc<AtomicBool>) -> Origin {
    let ill = ill.clone();
    Origin::start(move |link: &mut Link| {
        while link.request().is_some() {
            let sent = if ill.load(SeqCst) {
                link.try_send("HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n")
            } else {
                link.try_send(ok(name))
            };
            if !sent {
                return;
            }
        }
    })
}

/// The messages that a page is sent until it has been sent figures twice.
#[track_caller]
fn two_messages(admin: SocketAddr) -> String {
    let mut client = Client::connect(admin);
    client.send(format!("GET /events HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    let mut text = String::new();
    while text.matches("event: board\n").count() < 2 || !text.ends_with("\n\n") {
        text += &String::from_utf8_lossy(&client.bytes(1));
    }
    text
}

/// The page with palantir itself behind it, from the fall of a backend to a restart.
#[test]
fn palantir_is_watched_and_drained_by_its_page() {
    let ill = Arc::new(AtomicBool::new(false));
    let (first, second) = (backend("first", &Arc::default()), backend("second", &ill));
    let (admin, a, b) = (free_addr(), first.addr.to_string(), second.addr.to_string());
    let route = route("/", &[first.addr, second.addr]);
    let check = "health_check = { path = \"/health\", interval_secs = 0.2, unhealthy_after = 2, healthy_after = 2 }";
    let config = format!("[admin]\nlisten_addr = \"{admin}\"\n{route}{check}\n");
    let proxy = Proxy::start(&config);
    let browser = Browser::start();
    browser.open(&format!("http://{admin}/"));
    browser.wait_for("#backends-count", "2 of 2 healthy");

    ill.store(true, SeqCst);
    proxy.wait_for_log(&[&b, "to=\"unhealthy\""]);
    // Figures come every second, with the same values for all pages.
    eventually("every page is told of the unhealthy backend", || {
        two_messages(admin).contains("\"state\":\"unhealthy\"")
    });
    browser.wait_for(&cell(&b), "unhealthy");
    ill.store(false, SeqCst);
    browser.wait_for("#backends-count", "2 of 2 healthy");

    browser.click(&format!("[aria-label='Drain {a}']"));
    browser.wait_for(&cell(&a), "draining");
    browser.wait_for("#notices", "drains"); // Said when it holds on every worker.
    let answers: Vec<String> = (0..10).map(|_| proxy.ask(get("/")).text()).collect();
    assert_eq!(answers, ["second"; 10]);
    browser.click(&format!("[aria-label='Undrain {a}']"));
    browser.wait_for("#backends-count", "2 of 2 healthy");

    drop(proxy);
    browser.wait_for("#link", "reconnecting");
    let _proxy = Proxy::start(&config);
    browser.wait_for("#link", "live");
    browser.wait_for("#backends-count", "2 of 2 healthy");
    assert_eq!(browser.complaints(), [""; 0]);
}
