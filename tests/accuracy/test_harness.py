"""The harness itself: what it reads, that its baselines see no future, that a fall fails."""
import contextlib
import io
import json
import tempfile
import tomllib
import unittest
from pathlib import Path

import numpy as np

import baselines
import causes
import data
import families
import measure
import outputs
import page
import petshop_figures
import weblog_figures


def change(key, state, minute, started=0, features=("a", "b"), **more):
    return {"key": key, "state": state, "time_ms": minute * 60_000, "started_ms": started * 60_000,
            "contributions": [{"feature": name, "share": 0.5} for name in features], **more}


def written(changes):
    path = Path(tempfile.mkdtemp()) / "incidents.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in changes))
    return outputs.incidents(path)


class Reading(unittest.TestCase):
    def test_changes_of_one_key_are_one_incident_until_it_is_over(self):
        found = written([change("x", "detected", 1, 1), change("y", "detected", 2, 2), change("x", "confirmed", 3, 1),
                         change("x", "resolved", 9, 1), change("x", "detected", 20, 20)])
        self.assertEqual([(each.key, each.started, each.confirmed, each.ended) for each in found],
                         [("x", 60, 180, 540), ("y", 120, None, float("inf")), ("x", 1200, None, float("inf"))])

    def test_an_incident_that_was_notified_at_once_is_confirmed(self):
        self.assertEqual(written([change("x", "notified", 3)])[0].confirmed, 180)

    def test_suspects_go_before_contributions(self):
        ranked = change("x", "confirmed", 3, suspects=[{"feature": "c"}, {"feature": "a"}])
        self.assertEqual(outputs.ranking(ranked), ["c", "a"])
        self.assertEqual(outputs.ranking(change("x", "confirmed", 3)), ["a", "b"])

    def test_a_line_that_is_no_incident_is_an_error_with_its_number(self):
        path = Path(tempfile.mkdtemp()) / "incidents.jsonl"
        path.write_text(json.dumps(change("x", "detected", 1)) + "\n{}\n")
        with self.assertRaisesRegex(ValueError, "jsonl:2"):
            outputs.incidents(path)

    def test_a_row_without_a_frame_has_no_score_and_a_file_of_other_times_is_refused(self):
        path = Path(tempfile.mkdtemp()) / "scores.csv"
        path.write_text("timestamp,anomaly_score,top1\n" + "".join(f"{60 * i},{'' if i == 3 else i},x\n" for i in range(200)))
        found = outputs.scores(path, np.arange(200) * 60)
        self.assertTrue(np.isnan(found[3]) and found[4] == 4)
        with self.assertRaisesRegex(ValueError, "have a frame"):
            outputs.scores(path, np.arange(200) * 60 + 7)


class Causes(unittest.TestCase):
    def test_the_incident_confirmed_inside_a_segment_covers_it_before_one_open_already(self):
        early, inside = written([change("x", "confirmed", 1), change("y", "confirmed", 12, 11), change("x", "resolved", 30)])
        self.assertEqual(causes.covering([early, inside], 600, 900), (inside, True))
        self.assertEqual(causes.covering([early], 600, 900), (early, False))
        self.assertIsNone(causes.covering([early], 1860, 1900))

    def test_the_plain_rankings_put_the_moved_signal_first_and_see_nothing_later(self):
        rows = np.random.default_rng(1).normal(0.5, 0.02, (300, 4))
        rows[200:210, 2] += 0.4
        rows[210:, 1] += 9
        names = list("abcd")
        self.assertEqual(causes.change_ranking(rows, 200, 209, names)[0], "c")
        self.assertEqual(causes.z_ranking(rows, 200, 209, names, rows[:150].mean(0), rows[:150].std(0))[0], "c")


class Causal(unittest.TestCase):
    def setUp(self):
        rng = np.random.default_rng(5)
        self.values = rng.normal(10, 2, 900)
        self.changed = self.values.copy()
        self.changed[600:] += 50

    def test_no_baseline_of_nab_sees_a_later_row(self):
        before, after = baselines.nab(self.values), baselines.nab(self.changed)
        for name, rows in before.items():
            self.assertEqual([row for row in rows if row < 600], [row for row in after[name] if row < 600], name)

    def test_no_baseline_of_smd_sees_a_later_row(self):
        train = np.random.default_rng(6).normal(10, 2, (2000, 3))
        before, after = (baselines.smd("m", train, np.c_[values, values, values]) for values in (self.values, self.changed))
        for name in before:
            np.testing.assert_allclose(before[name][1][:600], after[name][1][:600], rtol=1e-6, err_msg=name)

    def test_a_trailing_quantile_is_that_of_the_rows_before(self):
        self.assertEqual(baselines.trailing_quantile([5, 1, 9, 2], 2, 0.5, before=[3, 4]).tolist(), [4, 5, 5, 9])
        self.assertEqual(baselines.trailing_quantile([7], 3, 0.5).tolist(), [np.inf])

    def test_an_incident_needs_a_run_and_opens_anew_after_quiet(self):
        over = [1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1]
        self.assertEqual(baselines.opened(over, confirm=3, quiet=2), [4, 14])
        self.assertEqual(baselines.first_after_quiet(over, 1), [0, 2, 7, 12])
        self.assertEqual(baselines.first_after_quiet(over, 2), [0, 12])


class Harness(unittest.TestCase):
    def test_a_fall_of_more_than_two_points_fails_and_a_smaller_one_does_not(self):
        accepted = {"pr_auc": 0.5, "normal_share": -0.01, "false_a_week": -1.5}
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(measure.compare({"pr_auc": 0.481, "normal_share": -0.013, "false_a_week": -1.65}, accepted), 0)
            self.assertEqual(measure.compare({"pr_auc": 0.479, "normal_share": -0.01, "false_a_week": -1.5}, accepted), 1)
            self.assertEqual(measure.compare({"pr_auc": 0.5, "normal_share": -0.016, "false_a_week": -1.5}, accepted), 1)
            self.assertEqual(measure.compare({"pr_auc": 0.5, "normal_share": -0.01, "false_a_week": -1.75}, accepted), 1)
            self.assertEqual(measure.compare({"pr_auc": float("nan"), "normal_share": 0, "false_a_week": 0}, accepted), 1)
            self.assertEqual(measure.compare({"pr_auc": 0.5}, accepted), 1)

    def test_a_variant_changes_only_its_options_in_the_first_detector(self):
        path = families.with_options({"confirm_frames": 5, "frame_interval": "20s"})
        shipped, variant = (tomllib.loads(text) for text in (families.replay.SHIPPED.read_text(), path.read_text()))
        path.unlink()
        shipped["processors"]["anomaly"][0] |= {"confirm_frames": 5, "frame_interval": "20s"}
        self.assertEqual(shipped, variant)

    def test_the_settings_hash_knows_options_and_not_prose(self):
        shipped = families.replay.settings_hash()
        other = families.with_options({"confirm_frames": 5})
        self.assertNotEqual(families.replay.settings_hash(other), shipped)
        other.write_text("# prose\n" + families.replay.SHIPPED.read_text())
        self.assertEqual(families.replay.settings_hash(other), shipped)
        other.unlink()

    def test_an_injected_outage_changes_only_the_status_of_its_own_hours(self):
        line = b'1.2.3.4 - - [17/Dec/2025:09:03:01 +0000] "GET /a\\"b HTTP/1.1" 200 12 "-" "x 200"\n'
        path = Path(tempfile.mkdtemp()) / "log"
        hit = weblog_figures.write(path, [(0, line)] * 500 + [(50_000, line)] * 500, [40_000])
        lines = path.read_bytes().splitlines(keepends=True)
        self.assertEqual(set(lines[:500]), {line})
        self.assertEqual(set(lines[500:]), {line, line.replace(b'" 200 12', b'" 502 12')})
        self.assertEqual(hit[0][0], sum(each != line for each in lines))
        self.assertEqual(hit[0][1], 0)
        self.assertTrue(420 < hit[0][0] < 480)

    def test_what_the_ranking_example_prints_is_read(self):
        line = "petshop, all rows    n 26   baseline top1 0.231 top3 0.731  change top1 0.423 top3 0.808  distinct top1 0.5 top3 1.000 "
        found = {name: (float(a), float(b)) for name, a, b in petshop_figures.RESULT.findall(line)}
        self.assertEqual(found, {"baseline": (0.231, 0.731), "change": (0.423, 0.808), "distinct": (0.5, 1.0)})

    def test_the_cache_knows_its_inputs(self):
        self.assertNotEqual(data.digest("a", "bc"), data.digest("ab", "c"))
        self.assertEqual(data.digest({"x": 1, "y": 2}), data.digest({"y": 2, "x": 1}))

    def test_the_page_says_everything_the_text_says_and_loads_nothing(self):
        section = {"title": "T & U", "text": "why", "headline": [["a|b", "r", "t", "m", False]],
                   "tables": [{"head": ["h"], "rows": [["c"]]}],
                   "plots": [{"kind": "bars", "title": "b", "bars": [["x", 1.0], ["y", -2.0]], "target": 0.5},
                             {"kind": "dots", "title": "d", "names": ["m"], "series": {"s": [0.5]}},
                             {"kind": "trace", "title": "t", "scores": [0, 1, float("nan"), 3], "labels": [0, 1, 1, 0]}]}
        facts = {"intro": "i", "run": {"k": "v"}}
        text, html = page.markdown([section], facts), page.page([section], facts)
        self.assertIn("| a\\|b | r | t | m | **no** |", text)
        self.assertIn("T &amp; U", html)
        self.assertEqual(html.count("<svg"), 3)
        for outside in ("src=", "href=", "http", "@import", "nan"):
            self.assertNotIn(outside, html)


if __name__ == "__main__":
    unittest.main()
