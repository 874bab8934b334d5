# The configurations that tests/bench/run gives to the agent and to its peers. Both sides are asked for the same work.

# Without the page: Telegraf has none.
agent_common() {
    cat <<TOML
[agent]
interval = "10s"

[web]
listen = ""
TOML
}
# Positions are on: they always are.
agent_tail_text() { # FILE PORT
    agent_common
    cat <<TOML

[[inputs.tail]]
files = ["$1"]
start = "beginning"
labels = { job = "bench" }

[[outputs.loki]]
url = "http://127.0.0.1:$2"
TOML
}
agent_tail_combined() { # FILE PORT
    agent_tail_text "$@"
    cat <<TOML

[[processors.parse]]
format = "combined"

[[processors.log_features]]
TOML
}
agent_host() { # PORT: the ten that Telegraf has
    agent_common
    cat <<TOML

[[inputs.system]]
collectors = ["cpu", "mem", "swap", "disk", "diskio", "net", "netstat", "system", "processes", "kernel"]

[[outputs.victoriametrics]]
url = "http://127.0.0.1:$1"
encoding = "snappy"
TOML
}
agent_wire() { # PORT-SNAPPY PORT-ZSTD PORT-VMAGENT: the shipped host metrics
    agent_common
    cat <<TOML

[[inputs.system]]

[[outputs.victoriametrics]]
alias = "snappy"
url = "http://127.0.0.1:$1"
encoding = "snappy"

[[outputs.victoriametrics]]
alias = "zstd"
url = "http://127.0.0.1:$2"
encoding = "zstd"

[[outputs.victoriametrics]]
alias = "vmagent"
url = "http://127.0.0.1:$3"
encoding = "snappy"
TOML
}

# Telegraf: the largest batches that still make it faster (measured: 90,000 lines/CPU-s with its defaults, 102,000 with
# 5,000 lines a batch, 125,000 with 10,000, for five times the memory); its positions are saved when it stops.
telegraf_common() {
    cat <<TOML
[agent]
interval = "10s"
flush_interval = "1s"
quiet = true
statefile = "$work/telegraf.state"
TOML
}
telegraf_tail() { # FILE PORT
    rm -f "$work/telegraf.state"
    telegraf_common
    cat <<TOML
metric_batch_size = 10000
metric_buffer_limit = 200000

[[outputs.loki]]
domain = "http://127.0.0.1:$2"

[[inputs.tail]]
files = ["$1"]
initial_read_offset = "beginning"
max_undelivered_lines = 100000
TOML
}
telegraf_tail_text() { # FILE PORT
    telegraf_tail "$@"
    cat <<TOML
data_format = "value"
data_type = "string"
TOML
}
telegraf_tail_combined() { # FILE PORT: the same parsing; it has nothing like log_features
    telegraf_tail "$@"
    cat <<TOML
data_format = "grok"
grok_patterns = ["%{COMBINED_LOG_FORMAT}"]
TOML
}
telegraf_host() { # PORT: as it comes, but for where it sends
    cat <<TOML
[agent]
interval = "10s"
quiet = true

[[inputs.cpu]]
[[inputs.mem]]
[[inputs.swap]]
[[inputs.disk]]
ignore_fs = ["tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs"]
[[inputs.diskio]]
[[inputs.net]]
[[inputs.netstat]]
[[inputs.system]]
[[inputs.processes]]
[[inputs.kernel]]

[[outputs.http]]
url = "http://127.0.0.1:$1/api/v1/write"
data_format = "prometheusremotewrite"
[outputs.http.headers]
Content-Type = "application/x-protobuf"
Content-Encoding = "snappy"
X-Prometheus-Remote-Write-Version = "0.1.0"
TOML
}

agent_models() { # SIDE PORT: the same logs and features on both, a detector of 60 signals on one
    agent_common
    echo
    "$models" config "$work/models/logs"
    [[ $1 == without ]] || "$models" detector
    cat <<TOML

[[outputs.victoriametrics]]
url = "http://127.0.0.1:$2"
encoding = "snappy"
TOML
}
