//! The main job at a glance: metrics in VictoriaMetrics, lines in Loki, the agent ends in time.

use std::time::Duration;

use super::stack::{Agent, Server, asked, loki_lines, metrics, until};

#[test]
fn metrics_and_lines_arrive_in_the_real_servers() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (loki, vm) =
        (Server::start("loki", folder.path()), Server::start("victoriametrics", folder.path()));
    let log = folder.path().join("app.log");
    std::fs::write(&log, "first line\nsecond line\n").unwrap();
    let config = format!(
        "[agent]\ntags = {{ env = \"test\" }}\n[[inputs.system]]\n[[inputs.tail]]\nfiles = [\"{}\"]\nstart = \"beginning\"\nlabels = {{ job = \"app\" }}\n\
         [[outputs.victoriametrics]]\nurl = \"{}\"\n[[outputs.loki]]\nurl = \"{}\"\n",
        log.display(),
        vm.url,
        loki.url
    );
    let mut agent = Agent::start(&folder.path().join("agent"), &config);
    until("metrics", Duration::from_secs(30), || {
        !metrics(&vm, "mem_total{env=\"test\"}").is_empty()
    });
    until("lines", Duration::from_secs(30), || loki_lines(&loki, "{job=\"app\"}").len() == 2);
    let texts: Vec<String> =
        loki_lines(&loki, "{job=\"app\"}").into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["first line", "second line"]);
    assert!(agent.stop() < Duration::from_secs(10));
}

#[test]
fn an_old_victoriametrics_is_written_to_as_well() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let vm = Server::start("victoriametrics-debian", folder.path());
    let config = format!("[[inputs.system]]\n[[outputs.victoriametrics]]\nurl = \"{}\"\n", vm.url);
    let _agent = Agent::start(&folder.path().join("agent"), &config);
    until("metrics", Duration::from_secs(30), || !metrics(&vm, "mem_total").is_empty());
}
