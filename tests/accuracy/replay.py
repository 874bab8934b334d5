"""Runs the detector: only through the command, only with the shipped configuration (or a variant of it, when asked for).

`sentinelops replay --config C [--detector ALIAS] [--train X] --series Y|--file Z --scores OUT.csv --incidents OUT.jsonl`, two at
a time. What it wrote is kept by the digest of binary, configuration and inputs, so a second run shows the same at once.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import data

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = REPOSITORY / "agent.toml"
DEFAULTS = REPOSITORY / "plugins" / "processors" / "anomaly" / "sample.toml"
PARALLEL = 2


class Failed(Exception):
    """The command did not do what it was asked."""


def progress(label, items, work):
    """[work(item)] in order, two at a time, with a bar on stderr."""
    items, found, started = list(items), {}, time.monotonic()
    steps, shown = max(len(items) // 10, 1), sys.stderr.isatty()
    with ThreadPoolExecutor(PARALLEL) as pool:
        pending = {pool.submit(work, item): at for at, item in enumerate(items)}
        for done, future in enumerate(as_completed(pending), 1):
            found[pending[future]] = future.result()
            filled = 30 * done // len(items)
            line = f"{label:28s} [{'#' * filled}{'.' * (30 - filled)}] {done}/{len(items)} {time.monotonic() - started:5.0f} s"
            if shown:
                print(f"\r{line}", end="\n" if done == len(items) else "", file=sys.stderr, flush=True)
            elif done % steps == 0 or done == len(items):
                print(line, file=sys.stderr, flush=True)
    return [found[at] for at in range(len(items))]


def binary():
    path = Path(os.environ.get("SENTINEL_BIN") or "")
    if not path.is_file():
        raise Failed("SENTINEL_BIN does not name the sentinelops command")
    return path.resolve()


def settings_hash(config=SHIPPED):
    """SHA-256 of what is set for the detectors, and of the options' defaults, both without prose and in a fixed order."""
    processors = tomllib.loads(Path(config).read_text()).get("processors", {})
    tables = {name: processors.get(name, []) for name in ("anomaly", "log_features", "log_patterns")}
    text = DEFAULTS.read_text() if DEFAULTS.exists() else ""
    options = re.sub(r"(?m)^##.*$|^# ?", "", text)
    return data.digest({"set": tables, "defaults": tomllib.loads(options)})


class Job:
    """One replay. `arguments`: without --config, --scores, --incidents; `inputs`: the files that it reads."""

    def __init__(self, name, arguments, inputs):
        self.name, self.arguments, self.inputs = name, [str(x) for x in arguments], [Path(x) for x in inputs]


def series(name, path, train=None):
    arguments = ["--series", path] + (["--train", train] if train else [])
    return Job(name, arguments, [path] + ([train] if train else []))


def run(jobs, label, config=SHIPPED, incidents_only=False):
    """name -> folder with scores.csv and incidents.jsonl; raises Failed with what the command said."""
    program = binary()
    of_program = data.cached("digest", [str(program), program.stat().st_mtime_ns, program.stat().st_size],
                             lambda: data.digest(program))

    def one(job):
        folder = data.CACHE / "replays" / data.digest(of_program, Path(config).read_text(), job.arguments, *job.inputs)[:32]
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(dir=folder.parent))
            command = [str(program), "replay", "--config", str(config), *job.arguments, "--incidents", "incidents.jsonl"]
            command += [] if incidents_only else ["--scores", "scores.csv"]
            started = time.monotonic()
            done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                shutil.rmtree(work)
                raise Failed(f"{job.name}: {' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
            (work / "report.txt").write_text(done.stdout + done.stderr)
            (work / "seconds").write_text(f"{time.monotonic() - started:.2f}\n")
            try:
                work.rename(folder)
            except OSError:  # another run was first; what it made is the same
                shutil.rmtree(work)
        return job.name, folder

    return dict(progress(label, jobs, one))


def tidy(keep=24):
    """Drops replays that nobody asked for in the last `keep` hours."""
    for folder in (data.CACHE / "replays").glob("*"):
        if time.time() - folder.stat().st_mtime > keep * 3600:
            shutil.rmtree(folder, ignore_errors=True)
