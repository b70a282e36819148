//! Settings that change while answers are stored, and edits that every answer gets.

use super::*;

const PATH: &str = "/";
const HOUR: (&str, &str) = ("x-want", "Cache-Control: max-age=3600|X-Debug: 1");

#[test]
fn changed_lifetimes_count_for_what_is_stored() {
    let origin = obedient();
    let watched = Watched::start("", "ttl = { 200 = '1h' }", "", &[origin.addr]);
    let mut client = Asker::new(&watched.proxy, Version::One);
    client.get(PATH, &[]);
    let hit = client.get(PATH, &[]);
    assert!(hit.is_hit() && (1..=3600).contains(&hit.ttl()), "{hit:?}");
    watched.reload("ttl = { 200 = '1h' }", "ttl = { 200 = '5h' }");
    for version in VERSIONS {
        let longer = Asker::new(&watched.proxy, version).get(PATH, &[]);
        assert!(longer.is_hit() && longer.ttl() > 3600, "{longer:?}");
    }
    // What the settings no longer permit is no longer used.
    client.get("/cookie", &[("x-want", "Set-Cookie: a=b")]);
    watched.reload(
        "ttl = { 200 = '1h' }",
        "set_cookie = 'store', ttl = { 200 = '1h' }",
    );
    client.get("/cookie", &[("x-want", "Set-Cookie: a=b")]);
    assert!(client.get("/cookie", &[]).is_hit());
    watched.reload("ttl = { 200 = '1h' }", "ttl = { 200 = '1h' }");
    assert!(!client.get("/cookie", &[]).is_hit());
}

#[test]
fn changed_edits_count_for_what_is_stored() {
    let origin = obedient();
    let edits = "response_headers = { set = { \"X-Edit\" = \"one\" } }";
    let watched = Watched::start("", "", edits, &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        Asker::new(&watched.proxy, version).get(&path, &[HOUR]);
        let hit = Asker::new(&watched.proxy, version).get(&path, &[]);
        assert!(hit.is_hit());
        assert_eq!(
            (hit.field("x-edit"), hit.field("x-debug")),
            (Some("one"), Some("1"))
        );
    }
    let new =
        "response_headers = { set = { \"X-Edit\" = \"two\" }, remove = [\"X-Debug\"] }\nvia = true";
    watched.reload(edits, new);
    for version in VERSIONS {
        let hit = Asker::new(&watched.proxy, version).get(&format!("/{version:?}"), &[]);
        assert!(hit.is_hit());
        assert_eq!(
            (hit.field("x-edit"), hit.field("x-debug")),
            (Some("two"), None)
        );
        assert!(
            hit.field("via").is_some_and(|via| via.starts_with("1.1 ")),
            "{hit:?}"
        );
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_cache_that_is_taken_away_is_not_asked() {
    let origin = obedient();
    let watched = Watched::start("", "", "", &[origin.addr]);
    let mut client = Asker::new(&watched.proxy, Version::Two);
    client.get(PATH, &[HOUR]);
    assert!(client.get(PATH, &[HOUR]).is_hit());
    watched.reload("cache = { status = \"full\" }", "");
    let plain = client.get(PATH, &[HOUR]);
    assert_eq!(
        (plain.text().as_str(), plain.field("cache-status")),
        ("2", None),
        "{plain:?}"
    );
}

#[test]
fn another_key_finds_nothing() {
    let origin = obedient();
    let watched = Watched::start("", "zone = 'one'", "", &[origin.addr]);
    let mut client = Asker::new(&watched.proxy, Version::One);
    client.get(PATH, &[HOUR]);
    assert!(client.get(PATH, &[HOUR]).is_hit());
    for other in ["zone = 'two'", "zone = 'one', key_headers = ['x-a']"] {
        watched.reload("zone = 'one'", other);
        let mut client = Asker::new(&watched.proxy, Version::Two);
        assert!(!client.get(PATH, &[HOUR]).is_hit(), "{other}");
        assert!(client.get(PATH, &[HOUR]).is_hit(), "{other}");
    }
    watched.reload("zone = 'one'", "zone = 'one'");
    assert!(
        client.get(PATH, &[HOUR]).is_hit(),
        "what was stored before is there"
    );
}

/// A hit is edited as any answer of a backend is.
#[test]
fn hits_look_as_answers_of_the_backend_do() {
    let origin = obedient();
    let route =
        "response_headers = { set = { \"X-Edit\" = \"one\" }, remove = [\"X-Debug\"] }\nvia = true";
    let watched = Watched::start("", "set_cookie = 'store'", route, &[origin.addr]);
    let want = "Cache-Control: max-age=3600|X-Debug: 1|Set-Cookie: a=b; Path=/|Set-Cookie: c=d|Content-Type: text/x|\
                Via: 1.0 far|Location: /there";
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&watched.proxy, version);
        let first = client.get(&path, &[("x-want", want)]);
        let hit = client.get(&path, &[]);
        assert!(hit.is_hit());
        for name in [
            "x-edit",
            "x-debug",
            "via",
            "set-cookie",
            "content-type",
            "location",
            "content-length",
            "connection",
        ] {
            assert_eq!(hit.all(name), first.all(name), "{name}: {first:?}, {hit:?}");
        }
    }
}

/// RFC 9211 section 2: the members of earlier caches stand before this one's.
#[test]
fn cache_status_goes_on_where_others_have_begun() {
    let origin = obedient();
    let want = (
        "x-want",
        "Cache-Control: max-age=3600|Cache-Status: far; hit; ttl=5",
    );
    for (way, contains) in [("full", "detail"), ("brief", "ttl="), ("off", "far; hit")] {
        let config = settings("", &[origin.addr])
            .replace("status = \"full\"", &format!("status = \"{way}\""));
        let proxy = Proxy::start(&config.replace("[cache]\n", "[cache]\nname = \"near\"\n"));
        for version in VERSIONS {
            let path = format!("/{version:?}");
            let mut client = Asker::new(&proxy, version);
            client.get(&path, &[want]);
            let hit = client.get(&path, &[]);
            assert!(hit.number("age") >= 0, "{hit:?}");
            let all = hit.all("cache-status").join(", ");
            assert!(all.starts_with("far; hit; ttl=5"), "{way}: {all}");
            assert!(all.contains(contains), "{way}: {all}");
            assert_eq!(all.contains(", near; hit"), way != "off", "{way}: {all}");
            assert_eq!(all.contains("detail"), way == "full", "{way}: {all}");
        }
    }
}
