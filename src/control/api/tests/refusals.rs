//! Requests that the management API refuses, and the reasons that it gives.

use super::*;

#[tokio::test]
async fn what_is_wrong_is_named() {
    let api = Api::new();
    let rows = [
        (
            "POST /servers",
            r#"{"url":"127.0.0.1:9003","weigth":2}"#,
            422,
            "weigth",
        ),
        (
            "POST /servers",
            r#"{"url":"127.0.0.1:9003","weight":0}"#,
            422,
            "weight",
        ),
        ("POST /servers", r#"{"url":"https://a:1"}"#, 422, "url"),
        ("POST /servers", r#"{"url":7}"#, 422, "url"),
        (
            "POST /servers",
            r#"{"url":"a:1","addr":"b:1"}"#,
            422,
            "addr",
        ),
        ("POST /servers", r#"{"url":"a:1","pool":{}}"#, 422, "pool"),
        (
            "POST /servers",
            r#"{"url":"a:1","pool":"nowhere"}"#,
            404,
            "",
        ),
        ("POST /servers", "{}", 422, "url"),
        (
            "POST /servers",
            r#"{"url":"a:1","wight":null}"#,
            422,
            "wight",
        ),
        ("POST /servers", "[]", 422, ""),
        ("POST /servers", "{", 400, ""),
        ("POST /servers", "", 400, ""),
        (
            "PUT /pools/api/servers/127.0.0.1:1",
            r#"{"health_check":{"path":"x"}}"#,
            422,
            "health_check.path",
        ),
        ("PUT /pools/api/servers/nonsense", "{}", 422, "addr"),
        ("PATCH /pools/api", r#"{"backends":[]}"#, 422, "backends"),
        (
            "PATCH /pools/api",
            r#"{"balancing_algorithm":"best"}"#,
            422,
            "balancing_algorithm",
        ),
        (
            "PUT /pools/api",
            r#"{"backends":["a:1",null]}"#,
            422,
            "backends[1]",
        ),
        (
            "POST /config/rollback",
            r#"{"revision":-1}"#,
            422,
            "revision",
        ),
        ("POST /config/rollback", r#"{"revision":99}"#, 404, ""),
        ("POST /reload", r#"{"confirm":3}"#, 422, "confirm"),
        ("POST /reload", r#"{"confirm_secs":0}"#, 422, "confirm_secs"),
        ("POST /reload/confirm", "", 409, ""),
        ("POST /upgrade", "{}", 409, ""),
        ("POST /upgrade", r#"{"now":true}"#, 422, "now"),
        ("DELETE /servers/127.0.0.1/9001?drain=soon", "", 400, ""),
        ("DELETE /servers/127.0.0.1/9001?drian=1s", "", 400, ""),
        ("DELETE /servers/127.0.0.1/999999", "", 400, ""),
        ("GET /servers?pol=api", "", 400, ""),
        ("GET /nothing", "", 404, ""),
        ("GET /pools/api/", "", 404, ""),
        ("GET /pools/%ff", "", 400, ""),
        ("DELETE /pools", "", 405, ""),
        ("POST /metrics", "", 405, ""),
        ("OPTIONS /pools", "", 405, ""),
    ];
    for (line, body, status, field) in rows {
        let answer = api.send_request(line, &[], body).await;
        eprintln!("{line} {body}");
        answer.is_problem(status, field);
    }
    let answer = api.send_request("DELETE /pools", &[], "").await;
    assert_eq!(answer.field("allow"), "GET,HEAD");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let api = Api::new();
    let large = format!("{{\"url\":\"{}\"}}", "x".repeat(limits::ADMIN_BODY_BYTES));
    api.send_request("POST /servers", &[], &large)
        .await
        .is_problem(413, "");
    let chunk = vec![b'['; 1 << 16];
    let chunks = (0..100).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let request = Request::post("/servers")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(body);
    let answer = api.router.clone().oneshot(request.unwrap()).await.unwrap();
    Answer::read(answer).await.is_problem(413, "");
}

#[tokio::test]
async fn a_content_type_is_only_wrong_where_the_rest_is_right() {
    let api = Api::new();
    let plain = [("content-type", "text/plain")];
    for (line, status) in [
        ("POST /servers", 415),
        ("PUT /pools/api", 415),
        ("POST /pools", 405),
        ("POST /nothing", 404),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header(plain[0].0, plain[0].1)
            .body(Body::empty());
        let answer = api.router.clone().oneshot(request.unwrap()).await.unwrap();
        Answer::read(answer).await.is_problem(status, "");
    }
}

#[tokio::test]
async fn a_change_with_an_old_tag_is_refused() {
    let api = Api::new();
    let tag = api.get("/pools/api").await.field("etag").to_owned();
    assert_eq!(tag, "\"1\"");
    let patch = "PATCH /pools/api/servers/127.0.0.1:9001";
    let first = api
        .send_request(patch, &[("if-match", &tag)], r#"{"weight":2}"#)
        .await;
    assert_eq!((first.status, first.field("etag")), (200, "\"2\""));
    let second = api
        .send_request(patch, &[("if-match", &tag)], r#"{"weight":3}"#)
        .await;
    second.is_problem(412, "");
    for (line, body) in [
        ("DELETE /servers/127.0.0.1/9001", ""),
        ("POST /servers", r#"{"url":"127.0.0.1:9003"}"#),
        ("PUT /pools/api", r#"{"backends":["a:1"]}"#),
        ("PATCH /pools/api", "{}"),
        ("DELETE /pools/other", ""),
    ] {
        let answer = api.send_request(line, &[("if-match", &tag)], body).await;
        answer.is_problem(412, "");
    }
    let any = api
        .send_request(patch, &[("if-match", "*")], r#"{"weight":3}"#)
        .await;
    assert_eq!(any.status, 200);
}
