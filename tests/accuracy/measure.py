"""Everything the accuracy page shows, or its small cut. Called by `run`, which builds what is measured.

    measure.py full             all figures; writes README.md and page.html beside this
    measure.py cut [--accept]   a few machines and series against accepted.json; exit 1 when a figure fell by more than .02
    measure.py NAME...          only some sections, printed: forest smd nab seasonal svm causes petshop weblog families
"""
import datetime
import json
import subprocess
import sys
import time

import cause_figures
import data
import families
import model_figures
import nab_figures
import page
import petshop_figures
import replay
import seasonal_figures
import smd_figures
import weblog_figures

HERE = data.Path(__file__).parent
ACCEPTED = HERE / "accepted.json"
FALL = 0.02
FALLS = {"false_a_week": 0.2, "normal_share": 0.005}  # one incident more in the cut's six weeks is .16 a week
CUT_MACHINES = ("machine-1-5", "machine-2-1", "machine-3-2")
CUT_SERIES = ("realAWSCloudwatch/ec2_cpu_utilization_24ae8d", "realAdExchange/exchange-3_cpm_results",
              "realKnownCause/ec2_request_latency_system_failure", "realTraffic/speed_t4013", "realTweets/Twitter_volume_CVS")
INTRO = ("How well SentinelOps detects, on development data, beside plain baselines, scikit-learn and Prophet in the same run. "
         "Replay is causal: a model trained up to T takes effect after T, and no future row is in a scale, a season or a boundary. "
         "All figures use the detector settings of the shipped agent.toml, one set for all data. These are development data, looked at while the settings were "
         "made: expect less on others; the last section says how much less when a family of data is left out of the choice. "
         "Intervals are 95 %, bootstrap. Regenerate: "
         "SENTINEL_DATA=/path tests/run accuracy")


def attempt(title, make):
    """The sections of `make`; what could not be measured is a section that says why."""
    try:
        made = make()
    except (replay.Failed, data.Missing, ValueError, KeyError, subprocess.CalledProcessError) as error:
        text = f"{type(error).__name__}: {error}" + (getattr(error, "stderr", None) or "")[-400:]
        print(f"accuracy: {title}: {text}", file=sys.stderr)
        text = " ".join(text.split())[-500:]
        made = {"title": title, "headline": [[title, "", "", "not measured", None]], "text": f"Not measured: `{text}`", "tables": [],
                "plots": [], "cut": {}, "failed": True}
    return [section for section in (made if isinstance(made, list) else [made]) if section]


SECTIONS = {
    "forest": ("Isolation forest alone", model_figures.forest_section), "smd": ("SMD", smd_figures.figures),
    "nab": ("NAB's scoring", nab_figures.section), "seasonal": ("Trend models", seasonal_figures.section),
    "svm": ("One-class SVM", model_figures.svm_section), "causes": ("A single injected cause", cause_figures.section),
    "petshop": ("PetShop", petshop_figures.section), "weblog": ("Web log", weblog_figures.section),
    "families": ("Leave one family out", families.section),
}
CUT = {"smd": lambda: smd_figures.figures(CUT_MACHINES), "nab": lambda: nab_figures.section(CUT_SERIES),
       "petshop": petshop_figures.section}


def sections(names):
    return [section for name in names for section in attempt(*SECTIONS[name])]


def shell(*command):
    done = subprocess.run(command, cwd=replay.REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def facts(seconds):
    dirty = " with changes" if shell("git", "status", "--porcelain", "--", "src", "plugins", "agent.toml") else ""
    return {"intro": INTRO, "run": {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"), "commit": shell("git", "rev-parse", "--short", "HEAD") + dirty,
        "command (SHA-256)": data.digest(replay.binary())[:16], "detector settings (SHA-256)": replay.settings_hash(),
        "data": f"manifest {data.digest(data.root() / 'manifest.csv')[:16]}",
        "settings tried": f"{len(families.variants())} of options (the last section), and about {families.constants()} of the "
                          "code's constants, chosen by all of these data: no section can show what that choice is worth elsewhere", "time": f"{seconds:.0f} s on 2 cores (with what was cached)"}}


def show(made):
    for section in made:
        for measure, reference, target, got, met in section["headline"]:
            print(f"{ {True: 'met ', False: 'NOT ', None: '  - '}[met]} {measure}: {got}   (to reach {target}; reference {reference})")


def full():
    started = time.monotonic()
    made = sections(SECTIONS)
    about = facts(time.monotonic() - started)
    print(f"settings {about['run']['detector settings (SHA-256)']}")
    show(made)
    (HERE / "README.md").write_text(page.markdown(made, about))
    (HERE / "page.html").write_text(page.page(made, about))
    print(f"wrote {HERE}/README.md and page.html")
    return any(section.get("failed") for section in made)


def cut(accept):
    made = [section for name, make in CUT.items() for section in attempt(name, make)]
    figures = {key: value for section in made for key, value in section["cut"].items()}
    show(made)
    if any(section.get("failed") for section in made):
        print("accuracy: the cut could not be measured", file=sys.stderr)
        return 1
    if accept:
        ACCEPTED.write_text(json.dumps({key: round(value, 4) for key, value in figures.items()}, indent=1) + "\n")
        print(f"wrote {ACCEPTED}")
        return 0
    if not ACCEPTED.exists():
        print("accuracy: there is no accepted.json; look at the figures, then `tests/accuracy/run cut --accept`", file=sys.stderr)
        return 1
    return compare(figures, json.loads(ACCEPTED.read_text()))


def compare(figures, accepted):
    """1 when a figure fell by more than allowed, or is gone. Figures that are better when small are stored negative."""
    status = 0
    for key, before in accepted.items():
        now, allowed = figures.get(key), FALLS.get(key, FALL)
        fallen = now is None or not now >= before - allowed
        print(f"{'FELL' if fallen else 'ok  '} {key:18s} accepted {before:+.4f} now {'missing' if now is None else f'{now:+.4f}'}")
        status |= fallen
    for key in sorted(set(figures) - set(accepted)):
        print(f"new  {key:18s} {figures[key]:+.4f}: not in accepted.json")
    return int(status)


def main():
    arguments = sys.argv[1:]
    try:
        if arguments == ["full"]:
            return full()
        if arguments in (["cut"], ["cut", "--accept"]):
            return cut("--accept" in arguments)
        if arguments and set(arguments) <= set(SECTIONS):
            print(page.markdown(sections(arguments), facts(0)))
            return 0
    except data.Missing as error:
        print(f"accuracy: skipped: {error}")
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(int(main()))
