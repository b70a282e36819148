//! What the API shows of a check may be sent back: a credential that it hides stays what it was.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::managed::Managed;
use crate::support::origin::ok;
use crate::support::{Origin, eventually};

#[test]
fn a_mask_that_is_sent_back_stands_for_the_value_in_force() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let noted = seen.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let field = request.head.field("authorization").unwrap_or("").to_owned();
            noted.lock().unwrap().push(field);
            link.try_send(ok("here"));
        }
    });
    let addr = origin.addr;
    let check =
        "{ path = \"/\", interval_secs = 0.1, headers = { Authorization = \"Bearer one\" } }";
    let managed = Managed::start(
        "",
        &format!(
            "[[pools]]\nname = \"api\"\nbackends = [\"{addr}\"]\nhealth_check = {check}\n\
             [[routes]]\npool = \"api\"\n"
        ),
    );
    let server = format!("/pools/api/servers/{addr}");
    let probed_on = || {
        let before = seen.lock().unwrap().len();
        eventually("two more probes", || {
            seen.lock().unwrap().len() > before + 2
        });
    };
    let shown = managed.get("/pools/api")["health_check"].clone();
    assert_eq!(shown["headers"]["authorization"], "***", "{shown}");
    for line in ["PATCH /pools/api".to_owned(), format!("PATCH {server}")] {
        let mut check = shown.clone();
        check["healthy_after"] = json!(1);
        let change = json!({ "health_check": check }).to_string();
        let answer = managed.ask(&line, &[], &change);
        assert_eq!(answer.status(), 200, "{line}: {}", answer.text());
        probed_on();
    }
    assert!(
        seen.lock()
            .unwrap()
            .iter()
            .all(|field| field == "Bearer one")
    );

    // There is no value that this one could stand for.
    let change =
        json!({ "health_check": { "path": "/", "headers": { "x-api-key": "***" } } }).to_string();
    for line in ["PATCH /pools/api".to_owned(), format!("PATCH {server}")] {
        let answer = managed.ask(&line, &[], &change);
        assert_eq!(answer.status(), 422, "{line}: {}", answer.text());
        let text = answer.text();
        assert!(
            text.contains("\"health_check.headers.x-api-key\""),
            "{text}"
        );
    }
}
