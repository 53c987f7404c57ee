//! A real browser, driven over the `WebDriver` protocol.

use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Long enough for a busy machine; nothing waits so long that goes as it should.
const PATIENCE: Duration = Duration::from_mins(1);
const STEP: Duration = Duration::from_millis(40);

pub(crate) const TAB: &str = "\u{E004}";
pub(crate) const ENTER: &str = "\u{E007}";
pub(crate) const ESCAPE: &str = "\u{E00C}";
pub(crate) const CONTROL: &str = "\u{E009}";

/// What the browser's user has set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_dark: bool,
    pub(crate) language: &'static str,
}

impl Look {
    /// A laptop in English, with light colours.
    pub(crate) const PLAIN: Self = Self {
        width: 1_280,
        height: 800,
        is_dark: false,
        language: "en-US",
    };
}

/// A browser that shows one page.
pub(crate) struct Browser {
    agent: ureq::Agent,
    driver: Child,
    /// Kept open, so that the driver may go on writing.
    _talk: BufReader<ChildStdout>,
    session: String,
    site: String,
    profile: TempDir,
}

impl Browser {
    /// Opens the page of a site such as `http://127.0.0.1:8080`; nothing where there is no
    /// browser, which is said.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
    pub(crate) fn open(site: &str, look: Look) -> Option<Self> {
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = match spawned {
            Ok(driver) => driver,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("skipped: there is no chromedriver on this machine");
                return None;
            }
            Err(error) => panic!("chromedriver cannot be started: {error}"),
        };
        let mut talk = BufReader::new(driver.stdout.take().unwrap());
        let address = format!("http://127.0.0.1:{}", port(&mut talk));
        let profile = tempfile::tempdir().unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let mut browser = Self {
            agent,
            driver,
            _talk: talk,
            session: address,
            site: site.to_owned(),
            profile,
        };
        browser.begin(look);
        browser.visit("/");
        Some(browser)
    }

    fn begin(&mut self, look: Look) {
        let begun = self.post("/session", &self.wishes(look));
        let id = begun["sessionId"].as_str().unwrap();
        self.session = format!("{}/session/{id}", self.session);
        let size = json!({"width": look.width, "height": look.height, "deviceScaleFactor": 1,
                          "mobile": look.width < 600});
        self.tell("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if look.is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.tell("Emulation.setEmulatedMedia", &media);
    }

    fn wishes(&self, look: Look) -> Value {
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", self.profile.path().display()),
            format!("--lang={}", look.language),
            format!("--accept-lang={}", look.language),
        ];
        json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}})
    }

    /// Goes to a path of the site.
    pub(crate) fn visit(&self, path: &str) {
        self.post("/url", &json!({"url": format!("{}{path}", self.site)}));
    }

    pub(crate) fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}"))
    }

    /// What a script in the page returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    pub(crate) fn text(&self, css: &str) -> String {
        let css = Value::from(css);
        let text = self.value(&format!("document.querySelector({css})?.innerText ?? ''"));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until an expression in the page holds.
    pub(crate) fn wait(&self, expression: &str) {
        let begun = Instant::now();
        while self.value(&format!("Boolean({expression})")) != true {
            if begun.elapsed() > PATIENCE {
                let page = self.text("body");
                panic!("waited in vain for {expression}; the page says: {page}");
            }
            std::thread::sleep(STEP);
        }
    }

    /// Waits for an element that shows this text.
    pub(crate) fn wait_for(&self, css: &str, text: &str) {
        let (css, text) = (Value::from(css), Value::from(text));
        self.wait(&format!(
            "[...document.querySelectorAll({css})].some((e) => e.innerText.includes({text}))"
        ));
    }

    pub(crate) fn click(&self, css: &str) {
        let element = self.element(css);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into an element.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    fn element(&self, css: &str) -> String {
        let shown = Value::from(css);
        self.wait(&format!("document.querySelector({shown})"));
        let found = self.post("/element", &json!({"using": "css selector", "value": css}));
        let (_, id) = found.as_object().unwrap().iter().next().unwrap();
        id.as_str().unwrap().to_owned()
    }

    /// Presses keys one after another, wherever the keyboard stands.
    pub(crate) fn press(&self, keys: &[&str]) {
        let stroke = |key: &&str| [stroke("keyDown", key), stroke("keyUp", key)];
        let strokes: Vec<Value> = keys.iter().flat_map(stroke).collect();
        self.keys(&strokes);
    }

    /// Presses a key while another one is held.
    pub(crate) fn press_with(&self, held: &str, key: &str) {
        self.keys(&[
            stroke("keyDown", held),
            stroke("keyDown", key),
            stroke("keyUp", key),
            stroke("keyUp", held),
        ]);
    }

    /// Writes a text, wherever the keyboard stands.
    pub(crate) fn write(&self, text: &str) {
        let chars: Vec<String> = text.chars().map(String::from).collect();
        self.press(&chars.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn keys(&self, actions: &[Value]) {
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.post("/actions", &json!({"actions": [keyboard]}));
    }

    /// What the page looks like, as PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        let shot = self.get("/screenshot");
        let encoded = shot.as_str().unwrap();
        let engine = base64::engine::general_purpose::STANDARD;
        engine.decode(encoded).unwrap()
    }

    /// Checks that the page had no error, but for refused requests to these paths, and asked no
    /// other host for anything.
    pub(crate) fn check(&self, refused: &[&str]) {
        for entry in self.log("browser") {
            let message = entry["message"].as_str().unwrap();
            let is_expected =
                entry["source"] == "network" && refused.iter().any(|path| message.contains(path));
            assert!(is_expected, "the console says: {message}");
        }
        let mut asked = 0;
        for entry in self.log("performance") {
            let told: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            if told["message"]["method"] == "Network.requestWillBeSent" {
                let url = told["message"]["params"]["request"]["url"]
                    .as_str()
                    .unwrap();
                assert!(is_inside(url, &self.site), "the page asked {url}");
                asked += 1;
            }
        }
        assert!(
            asked > 0,
            "the browser does not tell what the page asks for"
        );
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let told = self.post("/se/log", &json!({"type": kind}));
        told.as_array().unwrap().clone()
    }

    /// Tells the browser something by its own protocol.
    fn tell(&self, command: &str, parameters: &Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.post("/goog/cdp/execute", &body);
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.session);
        value(self.agent.get(url).call(), path)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let request = self
            .agent
            .post(url)
            .header("content-type", "application/json");
        value(request.send(body.to_string()), path)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, the driver when it is told to.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The port that a driver says it listens at.
fn port(talk: &mut impl BufRead) -> u16 {
    let mut line = String::new();
    while talk.read_line(&mut line).unwrap() > 0 {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return port.trim().trim_end_matches('.').parse().unwrap();
        }
        line.clear();
    }
    panic!("chromedriver ended without a word about its port");
}

fn stroke(kind: &str, key: &str) -> Value {
    json!({"type": kind, "value": key})
}

fn is_inside(url: &str, site: &str) -> bool {
    // The browser's own first page is loaded before ours.
    let own = ["data:", "chrome:"];
    url.starts_with(&format!("{site}/")) || own.iter().any(|scheme| url.starts_with(scheme))
}

fn value(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>, path: &str) -> Value {
    let mut response = response.unwrap();
    let is_right = response.status().is_success();
    // Screenshots are longer than what is read by default at most.
    let body = response.body_mut().with_config().limit(64 << 20);
    let mut told: Value = serde_json::from_str(&body.read_to_string().unwrap()).unwrap();
    assert!(is_right, "{path}: {}", told["value"]["message"]);
    told["value"].take()
}
