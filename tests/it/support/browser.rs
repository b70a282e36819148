//! A headless Chromium, driven by chromedriver in the words of W3C WebDriver.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::client::Client;
use super::proxy::end_with_this_thread;
use super::{PATIENCE, eventually};

/// The name under which WebDriver hands out elements (section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one window; ended when dropped.
pub struct Browser {
    driver: Child,
    addr: SocketAddr,
    session: String,
    _turn: MutexGuard<'static, ()>,
}

/// A browser is many processes, which several of would keep each other from starting on a slow machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Browser {
    #[track_caller]
    pub fn start() -> Browser {
        let turn = ONE_AT_A_TIME.lock();
        let turn = turn.unwrap_or_else(PoisonError::into_inner);
        let (driver, addr) = (0..5).find_map(|_| driver()).expect("chromedriver starts");
        let mut browser = Browser {
            driver,
            addr,
            session: String::new(),
            _turn: turn,
        };
        // Chromium refuses its sandbox to root, and containers have little /dev/shm.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1440,1100",
        ];
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"}});
        let session = browser.call(
            "POST",
            "",
            &json!({"capabilities": {"alwaysMatch": wanted}}),
        );
        browser.session = format!("/{}", session["sessionId"].as_str().expect("a session"));
        browser
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (outcome, value) = self.try_call(method, path, body);
        assert_eq!(outcome, 200, "{method} {path}: {value}");
        value
    }

    #[track_caller]
    fn try_call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let mut client = Client::connect(self.addr);
        // A browser's start and the loading of a page are more than one wait.
        client.stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
        let answer = client.ask(format!(
            "{method} /session{}{path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.session,
            self.addr,
            body.len()
        ));
        let mut whole: Value = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status(), whole["value"].take())
    }

    #[track_caller]
    pub fn open(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    /// Shows the page as on a screen of this size, in CSS pixels: no window is as narrow as a phone.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        self.call("POST", "/goog/cdp/execute", &command);
    }

    /// The result of a script that runs in the page.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.call("POST", "/execute/sync", &body)
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let body = json!({"using": "css selector", "value": selector});
        let found = self.call("POST", "/element", &body);
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Clicks as a user does: scrolled to, and in the middle of what is really visible there.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.call("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types into an element. Keys without a letter are those of WebDriver (section 17.4.2): `\u{e007}` is Enter.
    #[track_caller]
    pub fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        let path = format!("/element/{element}/value");
        self.call("POST", &path, &json!({ "text": text }));
    }

    /// Presses keys wherever the focus is.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let pressed = keys.chars().flat_map(|key| {
            let key = key.to_string();
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        });
        let source = json!({"type": "key", "id": "keys", "actions": pressed.collect::<Vec<_>>()});
        self.call("POST", "/actions", &json!({ "actions": [source] }));
    }

    /// The text of an element as it is seen, `""` if it is not.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let script = format!(
            "const element = document.querySelector({}); return element?.checkVisibility() ? element.innerText : ''",
            json!(selector)
        );
        self.script(&script).as_str().expect("a text").to_owned()
    }

    /// Waits until an element's text contains these words.
    #[track_caller]
    pub fn wait_for(&self, selector: &str, words: &str) {
        eventually(&format!("{selector} says {words:?}"), || {
            self.text(selector).contains(words)
        });
    }

    /// Errors that the console shows, without those of requests that could not be sent.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.call("POST", "/se/log", &json!({"type": "browser"}));
        let lines = lines.as_array().expect("a list").iter();
        lines
            .filter(|line| line["level"] == "SEVERE" && line["source"] != "network")
            .map(|line| line["message"].to_string())
            .collect()
    }
}

/// A running driver, which chooses a port and says which. `None`: it ended, because another program took the port, in
/// one family of addresses, between its choice and its use of it.
#[track_caller]
fn driver() -> Option<(Child, SocketAddr)> {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdout(Stdio::piped());
    command.stderr(Stdio::null());
    end_with_this_thread(&mut command);
    let mut driver = command.spawn().expect("start chromedriver");
    let lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    if port.is_none() {
        let _ = driver.kill();
        let _ = driver.wait();
    }
    Some((driver, SocketAddr::from(([127, 0, 0, 1], port?))))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; the driver alone would leave it behind.
        if !std::thread::panicking() || !self.session.is_empty() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.try_call("DELETE", "", &Value::Null)
            }));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
