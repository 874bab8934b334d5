# What tests/bench/run starts and stops. Everything started is in `running` and is ended by its number.
running=()
value() { sed -nE "s/(^|.* )$1=([^ ]*).*/\2/p" <<<"$2" | head -n 1; } # NAME "a=1 b=2"

stop() { # PID
    local waited
    kill "$1" 2>/dev/null || true
    for ((waited = 0; waited < 200; waited++)); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
cleanup() {
    local status=$? pid
    trap - EXIT
    for pid in "${running[@]}"; do
        kill -0 "$pid" 2>/dev/null && stop "$pid"
    done
    rm -rf "$work"
    exit "$status"
}
started() { running+=("$1"); }

get() { # PORT PATH: the body of the answer
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3 # the agent's page wants to be named
    sed '1,/^\r$/d' <&3
    exec 3<&-
}

# Sets sink_pid and sink_port.
start_sink() { # SUBCOMMAND ARGUMENT...
    local said=$work/sink.said waited
    : >"$said"
    "$tools" "$@" >"$said" 2>&1 3<&- &
    sink_pid=$!
    started "$sink_pid"
    for ((waited = 0; waited < 300; waited++)); do
        sink_port=$(sed -n 's/^port=//p' "$said")
        [[ $sink_port ]] && return
        kill -0 "$sink_pid" 2>/dev/null || break
        sleep 0.05
    done
    say "the sink did not start: $(cat "$said")"
    exit 1
}

# Both set agent_pid. The configuration is DIR/config, what they say DIR/log.
start_agent() { # DIR
    mv "$1/config" "$1/agent.toml"
    "$agent" run --config "$1/agent.toml" --state-dir "$1/state" >"$1/log" 2>&1 &
    agent_pid=$!
    started "$agent_pid"
}
start_telegraf() { # DIR
    "$telegraf" --config "$1/config" >"$1/log" 2>&1 &
    agent_pid=$!
    started "$agent_pid"
}

# Sets vmagent_pid and vmagent_port.
start_vmagent() { # BINARY SINK-PORT
    local waited
    vmagent_port=$((20000 + RANDOM % 12000))
    "$1" -httpListenAddr="127.0.0.1:$vmagent_port" -remoteWrite.url="http://127.0.0.1:$2/api/v1/write" \
        -remoteWrite.tmpDataPath="$work/vmagent" >"$work/vmagent.log" 2>&1 &
    vmagent_pid=$!
    started "$vmagent_pid"
    for ((waited = 0; waited < 100; waited++)); do
        (get "$vmagent_port" /health) >/dev/null 2>&1 && return
        sleep 0.1
    done
    say "vmagent did not start: $(tail -n 3 "$work/vmagent.log")"
    exit 1
}
