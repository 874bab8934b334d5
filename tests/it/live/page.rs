//! A real browser on the agent's page: Chromium, driven through chromedriver's WebDriver protocol (w3.org/TR/webdriver2;
//! `se/log` is chromedriver's own).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::stack::{repository, until};

/// Sandbox and profile as `shared/reference/servers.md` found to work everywhere; nothing that asks the network.
const FLAGS: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with one window.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts chromedriver and a window of `width` x `height`; the profile is in `dir`.
    pub(crate) fn start(dir: &Path, width: u32, height: u32) -> Browser {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new(tool("chromedriver"))
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Browser { driver, port, session: String::new() };
        let answers = || order(port, "GET", "/status", "").is_ok();
        until("chromedriver", Duration::from_secs(30), answers);
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        flags.push(format!("--user-data-dir={}", dir.join("profile").display()));
        flags.push(format!("--window-size={width},{height}"));
        let wish = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": flags, "binary": tool("chromium")},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        // A browser that does not come up is not what is tested: it gets three tries.
        let mut tries = (0..3).map(|_| order(port, "POST", "/session", &wish.to_string()));
        let answer = tries.find_map(Result::ok).expect("chromedriver starts no Chromium");
        browser.session = format!("/session/{}", answer["sessionId"].as_str().unwrap());
        browser
    }

    /// Goes to a page; returns when it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.tell("url", &json!({ "url": url }));
    }

    /// The body of a function, run in the page.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that a selector names; empty when there is none.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!(
            "return document.querySelector({})?.textContent ?? '';",
            Value::String(selector.to_owned())
        );
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// What the console said since the last call: level and text.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.tell("se/log", &json!({ "type": "browser" }));
        let line = |entry: &Value| format!("{} {}", entry["level"], entry["message"]);
        entries.as_array().unwrap().iter().map(line).collect()
    }

    /// The whole page, as tall as it is, as a PNG.
    pub(crate) fn screenshot(&self, file: &Path) {
        let size = self.run(
            "return [document.documentElement.clientWidth, document.documentElement.scrollHeight];",
        );
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let params = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let order = json!({"cmd": "Page.captureScreenshot", "params": params});
        let answer = self.tell("goog/cdp/execute", &order);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, base64(answer["data"].as_str().unwrap())).unwrap();
    }

    fn tell(&self, what: &str, body: &Value) -> Value {
        let path = format!("{}/{what}", self.session);
        let answer = order(self.port, "POST", &path, &body.to_string());
        answer.unwrap_or_else(|error| panic!("{what} {body}: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ends_chromium = order(self.port, "DELETE", &self.session, "");
        }
        let _already_gone = self.driver.kill();
        let _already_gone = self.driver.wait();
    }
}

/// Where the screenshots go: SENTINEL_SCREENSHOT, else `target/page.png`; with `word` before the ending.
pub(crate) fn screenshot_path(word: &str) -> PathBuf {
    let path = std::env::var_os("SENTINEL_SCREENSHOT")
        .map_or_else(|| repository("target/page.png"), PathBuf::from);
    let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
    path.with_file_name(format!("{stem}{word}.png"))
}

/// The program that `tests/stack/setup` provides.
fn tool(name: &str) -> String {
    let output = Command::new(repository("tests/stack/setup")).arg(name).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let path = text.trim().strip_prefix(&format!("{name}="));
    path.unwrap_or_else(|| panic!("no {name}: {}", String::from_utf8_lossy(&output.stderr))).into()
}

/// One request to chromedriver; the `value` of its answer. It speaks HTTP/1.1 only, and keeps the connection open.
fn order(port: u16, method: &str, path: &str, body: &str) -> Result<Value, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(said)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(said)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .map_err(said)?;
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).map_err(said)? > 2 {
        let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut answer = vec![0; length];
    reader.read_exact(&mut answer).map_err(said)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let good = head.split(' ').nth(1) == Some("200");
    let value = serde_json::from_str::<Value>(&text).ok().filter(|_| good);
    value.map(|mut value| value["value"].take()).ok_or(text)
}

/// Base64 (RFC 4648) without line breaks.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        let place = DIGITS.iter().position(|known| *known == digit).unwrap() as u32;
        (bits, count) = (bits << 6 | place, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
