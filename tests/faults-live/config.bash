# The two agents' configurations for tests/faults-live/run: the shipped detectors with frames of a second, `host` in one, `web`
# and `logs` in the other: two faults are under way at once, and an agent that saw both would join their incidents.
#
# Settings that differ from the shipped ones: intervals, windows and frames of 1 s; lateness next to none, because all sources
# are on this host; the first model after $training frames. What the binary does not have is left out, and said.

has_plugin() { grep -q "^$1 " <<<"$plugins"; }
has_option() { "$agent" plugins sample "$1" 2>/dev/null | grep -q "^# $2 ="; } # PLUGIN OPTION

# anomaly ALIAS FROM PRESET
anomaly() {
    cat <<TOML

[[processors.anomaly]]
alias = "$1"
from = [$2]
preset = "$3"
frame_interval = "1s"
lateness = "200ms"
min_training_frames = $training
TOML
}

# logs_detector FORM: preset (the shipped one), or own (what the logs' metrics allow without it)
logs_detector() {
    local error_lines=log_errors from='"app_features"'
    if [[ $1 == preset ]]; then
        anomaly logs '"log_patterns"' logs
        return
    fi
    has_plugin processors.log_patterns && error_lines=log_error_lines from='"log_patterns"'
    anomaly logs "$from" none
    cat <<TOML

[[processors.anomaly.signals]]
name = "error_lines"
metric = "$error_lines"
aggregate = "sum"
over_time = "sum"
treatment = "count"
direction = "up"
min_change = 1.0
min_relative = 1.0
role = "user"
TOML
    has_plugin processors.log_patterns || return 0
    cat <<TOML

[[processors.anomaly.signals]]
name = "new_patterns"
metric = "log_new_patterns"
aggregate = "sum"
over_time = "sum"
treatment = "count"
direction = "up"
min_change = 1.0
role = "user"
TOML
}

# What both agents begin with. `inputs.changes` tells what changed on the host, to either.
common() {
    cat <<TOML
[agent]
interval = "1s"
flush_interval = "100ms"
host = "faults-live"
notifications_per_hour = 100000
notifications_per_day = 100000

[web]
listen = ""
TOML
    if has_plugin inputs.changes; then
        printf '\n[[inputs.changes]]\n'
        has_option inputs.changes interval && printf 'interval = "1s"\n'
    fi
    return 0
}
# incidents TIMELINE FROM
incidents() {
    cat <<TOML

[[outputs.file]]
alias = "incidents"
from = [$2]
path = "$work/$1/incidents.jsonl"
namepass = ["no_metric_at_all"]
TOML
}
config_host() {
    common
    printf '\n[[inputs.system]]\n'
    anomaly host '"system"' host
    incidents host '"host"'
}
config_logs() { # FORM of the logs' detector
    common
    cat <<TOML

[[inputs.tail]]
alias = "access"
files = ["$work/access.log"]
labels = { job = "shop" }

[[inputs.tail]]
alias = "app"
files = ["$work/app.log"]
labels = { job = "app" }

[[processors.parse]]
from = ["access"]
format = "combined"

[[processors.parse]]
alias = "parse_app"
from = ["app"]
format = "logfmt"

[[processors.log_features]]
from = ["access"]
window = "1s"
lateness = "0s"

[[processors.log_features]]
alias = "app_features"
from = ["app"]
window = "1s"
lateness = "0s"
TOML
    if has_plugin processors.log_patterns; then
        printf '\n[[processors.log_patterns]]\nfrom = ["app"]\nwindow = "1s"\n'
        has_option processors.log_patterns lateness && printf 'lateness = "0s"\n'
        has_option processors.log_patterns learning && printf 'learning = "%ss"\n' "$training"
    fi
    anomaly web '"log_features"' web
    logs_detector "$1"
    incidents logs '"web", "logs"'
}

# Writes $work/host/agent.toml and $work/logs/agent.toml: with the shipped preset for logs, when the binary has it.
write_config() {
    local form said
    plugins=$("$agent" plugins list)
    has_plugin processors.log_patterns || say 'without processors.log_patterns: this binary has none'
    has_plugin inputs.changes || say 'without inputs.changes: this binary has none'
    config_host >"$work/host/agent.toml"
    said=$("$agent" check --config "$work/host/agent.toml" 2>&1) || { say "$said"; broken 'the configuration is refused'; }
    for form in preset own; do
        config_logs "$form" >"$work/logs/agent.toml"
        if said=$("$agent" check --config "$work/logs/agent.toml" 2>&1); then
            [[ $form == preset ]] || say 'the preset "logs" is not there: the logs'"'"' detector has signals of its own instead'
            return
        fi
    done
    say "$said"
    broken 'the configuration is refused'
}
