//! Real servers and a real agent for the live tests: started through `tests/stack`, spoken to over plain HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Whether live tests are asked for; says so when they are not.
pub(crate) fn asked() -> bool {
    let asked = std::env::var_os("SENTINEL_STACK").is_some();
    if !asked {
        eprintln!("SENTINEL_STACK is not set: not run against real servers");
    }
    asked
}

/// A running server.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) dir: PathBuf,
    pub(crate) pid: i32,
    /// What `tests/stack/up` said of it: lines of `key=value`.
    said: String,
}

impl Server {
    /// Starts it in a folder of its own below `dir`.
    pub(crate) fn start(name: &'static str, dir: &Path) -> Server {
        let mut server =
            Server { name, url: String::new(), dir: dir.join(name), pid: 0, said: String::new() };
        server.up();
        server
    }

    fn up(&mut self) {
        let mut command = Command::new(repository("tests/stack/up"));
        command.arg(self.name).arg("--dir").arg(&self.dir);
        if !self.url.is_empty() {
            command.args(["--port", self.url.rsplit(':').next().unwrap()]);
        }
        let output = command.output().unwrap();
        self.said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{} did not start: {output:?}", self.name);
        (self.pid, self.url) = (self.value("pid").parse().unwrap(), self.value("url").to_owned());
    }

    /// A value that `tests/stack/up` said.
    pub(crate) fn value(&self, key: &str) -> &str {
        let line = self.said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{} has no {key}: {}", self.name, self.said))
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        signal(self.pid, "KILL");
        let proc = PathBuf::from(format!("/proc/{}/exe", self.pid));
        until("the server is gone", Duration::from_secs(20), || std::fs::read_link(&proc).is_err());
    }

    /// Starts it again on its port and its data.
    pub(crate) fn restart(&mut self) {
        self.up();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _best_effort = Command::new(repository("tests/stack/down")).arg(&self.dir).output();
    }
}

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    pub(crate) dir: PathBuf,
    pub(crate) page: String,
    runner: Vec<String>,
}

impl Agent {
    /// Starts an agent on `config` (without `[web]`), with its state in `dir`; its page is on a free port.
    pub(crate) fn start(dir: &Path, config: &str) -> Agent {
        Agent::start_by(&[], dir, config)
    }

    /// The same through a command that runs its arguments, such as `setpriv`.
    pub(crate) fn start_by(runner: &[&str], dir: &Path, config: &str) -> Agent {
        let listen = free_address();
        std::fs::create_dir_all(dir).unwrap();
        let config = format!("{config}\n[web]\nlisten = \"{listen}\"\n");
        std::fs::write(dir.join("agent.toml"), config).unwrap();
        Agent::run(runner.iter().map(|&word| word.to_owned()).collect(), dir, &listen)
    }

    /// Starts one on a shipped configuration, as it is but for its environment, to which `PAGE` is added.
    pub(crate) fn start_shipped(dir: &Path, file: &str, environment: &[(&str, &str)]) -> Agent {
        let listen = free_address();
        std::fs::create_dir_all(dir).unwrap();
        std::fs::copy(repository(file), dir.join("agent.toml")).unwrap();
        let mut runner = vec!["env".to_owned(), format!("PAGE={listen}")];
        runner.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
        Agent::run(runner, dir, &listen)
    }

    /// Starts it on the configuration in `dir`, and waits until its page answers.
    fn run(runner: Vec<String>, dir: &Path, listen: &str) -> Agent {
        let (child, page) = (spawn(&runner, dir), format!("http://{listen}"));
        let mut agent = Agent { child, dir: dir.to_owned(), page, runner };
        agent.wait_ready();
        agent
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Whether its process has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until its page answers.
    pub(crate) fn wait_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while get(&format!("{}/livez", self.page)).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the agent ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "the agent does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`, and a new one on the same state.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.again();
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A new one on the same state, after the last has ended.
    pub(crate) fn again(&mut self) {
        self.launch();
        self.wait_ready();
    }

    /// The same, without waiting for it.
    pub(crate) fn launch(&mut self) {
        self.child = spawn(&self.runner, &self.dir);
    }

    /// SIGTERM; how long it took to end, and that it ended well.
    pub(crate) fn stop(&mut self) -> Duration {
        let started = Instant::now();
        signal(self.child.id() as i32, "TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.log());
        started.elapsed()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default()
    }

    /// `/api/status`.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&get(&format!("{}/api/status", self.page)).unwrap()).unwrap()
    }

    /// One plugin of `/api/status`.
    pub(crate) fn plugin(&self, alias: &str) -> Value {
        let status = self.status();
        let plugins = status["plugins"].as_array().unwrap();
        plugins.iter().find(|plugin| plugin["alias"] == alias).unwrap_or(&Value::Null).clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

fn spawn(runner: &[String], dir: &Path) -> Child {
    let log =
        std::fs::OpenOptions::new().create(true).append(true).open(dir.join("agent.log")).unwrap();
    let binary = crate::cli::binary();
    let mut command = match runner {
        [] => Command::new(binary),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary);
            command
        }
    };
    command
        .args(["run", "--config"])
        .arg(dir.join("agent.toml"))
        .arg("--state-dir")
        .arg(dir.join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// An address on which nobody listens yet.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A file of this repository.
pub(crate) fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Sends a signal.
pub(crate) fn signal(pid: i32, name: &str) {
    Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
}

/// Gives a process more of the machine, where that is allowed: it stands for another machine.
pub(crate) fn renice(pid: i32) {
    let _not_root = Command::new("renice").args(["-n", "-10", "-p", &pid.to_string()]).output();
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_millis() as i64
}

/// Waits until it is so.
pub(crate) fn until(what: &str, patience: Duration, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is() {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// GET; the body of a 2xx answer, else an error with the answer.
pub(crate) fn get(url: &str) -> Result<String, String> {
    request("GET", url, "", "")
}

/// One request with HTTP/1.0: the answer ends with the connection, and is never chunked.
pub(crate) fn request(method: &str, url: &str, kind: &str, body: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) =
        rest.split_once('/').map_or((rest, String::new()), |(h, p)| (h, p.to_owned()));
    let mut stream = TcpStream::connect(host).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "{method} /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    stream.write_all(head.as_bytes()).map_err(|error| error.to_string())?;
    stream.write_all(body.as_bytes()).map_err(|error| error.to_string())?;
    stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    let good = head.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
    if good { Ok(body.to_owned()) } else { Err(answer) }
}

/// Percent-encodes a query parameter.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(byte as char);
        } else {
            out.extend(format!("%{byte:02X}").chars());
        }
        out
    })
}

/// One line in Loki.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    /// Nanoseconds.
    pub(crate) time_ns: i64,
    pub(crate) text: String,
}

/// Every line of the streams that `selector` names, of the last hour, in time order.
pub(crate) fn loki_lines(loki: &Server, selector: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    loki_pages(loki, selector, |page| lines.extend(page));
    lines
}

/// The same page by page, for more lines than memory should hold. Pages through Loki by time.
pub(crate) fn loki_pages(loki: &Server, selector: &str, mut take: impl FnMut(Vec<Line>)) {
    // Loki hands an answer on within itself by gRPC, at most 4 MB of it: a larger one never comes.
    const PAGE: usize = 10_000;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
        as i64;
    let (mut start, end) = (now - 3_600_000_000_000, now + 60_000_000_000);
    loop {
        let url = format!(
            "{}/loki/api/v1/query_range?query={}&start={start}&end={end}&limit={PAGE}&direction=forward",
            loki.url,
            encode(selector)
        );
        let answer: Value = serde_json::from_str(&get(&url).unwrap()).unwrap();
        let mut page = Vec::new();
        for stream in answer["data"]["result"].as_array().unwrap() {
            for entry in stream["values"].as_array().unwrap() {
                let time_ns = entry[0].as_str().unwrap().parse().unwrap();
                page.push(Line { time_ns, text: entry[1].as_str().unwrap().to_owned() });
            }
        }
        page.sort();
        let full = page.len() >= PAGE;
        if let Some(last) = page.last().filter(|_| full) {
            // The last instant may go on in the next page: read it again there.
            start = last.time_ns;
            page.retain(|line| line.time_ns < start);
        }
        take(page);
        if !full {
            return;
        }
    }
}

/// An instant query of VictoriaMetrics: each series' labels and value.
pub(crate) fn metrics(server: &Server, query: &str) -> Vec<(Value, f64)> {
    let _visible = get(&format!("{}/internal/force_flush", server.url));
    let url = format!("{}/api/v1/query?query={}", server.url, encode(query));
    let answer: Value = serde_json::from_str(&get(&url).unwrap()).unwrap();
    let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
    answer["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["metric"].clone(), value(s)))
        .collect()
}
