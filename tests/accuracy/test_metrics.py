"""Each measure against a case small enough to do by hand; `python test_metrics.py` runs all of them."""
import math
import unittest

import numpy as np

import metrics
import nab


class Ranking(unittest.TestCase):
    def test_roc_area_counts_the_pairs_in_order(self):
        # pairs (anomalous, normal): .8>.1, .8>.4, .35>.1, .35<.4: three of four
        self.assertAlmostEqual(metrics.roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 0.75)

    def test_a_tie_is_half_a_pair(self):
        self.assertAlmostEqual(metrics.roc_auc([0, 1], [2.0, 2.0]), 0.5)

    def test_average_precision_is_the_mean_precision_at_each_hit(self):
        # by score: hit (1/1), miss, hit (2/3), miss: (1 + 2/3) / 2
        self.assertAlmostEqual(metrics.average_precision([1, 0, 1, 0], [4, 3, 2, 1]), 5 / 6)

    def test_equal_scores_share_one_threshold(self):
        # all four rows at once: recall 1 at precision 1/2
        self.assertAlmostEqual(metrics.average_precision([1, 0, 1, 0], [7, 7, 7, 7]), 0.5)

    def test_a_row_without_a_score_is_the_least_anomalous(self):
        self.assertAlmostEqual(metrics.average_precision([1, 0, 0], [math.nan, 2, 1]), 1 / 3)
        self.assertAlmostEqual(metrics.roc_auc([1, 0, 0], [math.nan, 2, 1]), 0.0)

    def test_both_agree_with_scikit_learn(self):
        from sklearn.metrics import average_precision_score, roc_auc_score
        rng = np.random.default_rng(3)
        labels, scores = rng.random(500) < 0.1, rng.integers(0, 20, 500)
        self.assertAlmostEqual(metrics.roc_auc(labels, scores), roc_auc_score(labels, scores), 12)
        self.assertAlmostEqual(metrics.average_precision(labels, scores), average_precision_score(labels, scores), 12)


class Rows(unittest.TestCase):
    def test_segments_are_runs_of_anomalous_rows(self):
        self.assertEqual(metrics.segments([1, 0, 0, 1, 1, 0, 1]), [(0, 0), (3, 4), (6, 6)])
        self.assertEqual(metrics.segments([0, 0]), [])

    def test_segments_and_normal_rows_at_the_boundary_are_counted(self):
        labels = [0, 0, 1, 1, 0, 1]
        scores = [0.2, 1.0, 0.5, 1.7, math.nan, 0.9]
        self.assertEqual(metrics.score_rows(labels, scores), (1, 2, 1, 3))


class Openings(unittest.TestCase):
    runs = [(1000, 1900, 960), (5000, 5060, 120), (8000, 8900, 960)]

    def test_an_opening_in_a_long_run_hits_and_one_in_no_run_is_false(self):
        found = metrics.openings([1000, 1500, 5030, 7000], self.runs, 2 * metrics.WEEK)
        self.assertEqual(found, {"hit": 1, "long": 2, "false": 1, "opened": 4, "weeks": 2.0})

    def test_slack_widens_each_run_on_both_sides(self):
        found = metrics.openings([2200, 7700], self.runs, metrics.WEEK, slack=300)
        self.assertEqual((found["hit"], found["false"]), (2, 0))

    def test_nothing_opened_is_no_hit_and_nothing_false(self):
        found = metrics.openings([], self.runs, metrics.WEEK)
        self.assertEqual((found["hit"], found["false"], found["opened"]), (0, 0, 0))


class Gain(unittest.TestCase):
    def test_a_constant_gain_has_an_interval_without_width(self):
        gain, (low, high) = metrics.paired_gain([0.5, 0.7], [0.4, 0.6])
        for found in (gain, low, high):
            self.assertAlmostEqual(found, 0.1)

    def test_the_interval_of_two_values_reaches_from_one_to_the_other(self):
        self.assertEqual(metrics.bootstrap([0.0, 1.0]), (0.0, 1.0))

    def test_a_pooled_gain_weighs_each_unit_by_its_size(self):
        gain, (low, high) = metrics.pooled_gain([3, 1], [1, 1], [4, 12])
        self.assertAlmostEqual(gain, 2 / 16)
        self.assertEqual((low, high), (0.0, 0.5))

    def test_one_of_the_causes_among_the_first_k_is_enough(self):
        self.assertTrue(metrics.in_top(["a", "b", "c"], ["c", "z"], 3))
        self.assertFalse(metrics.in_top(["a", "b", "c"], ["c", "z"], 2))


class Bands(unittest.TestCase):
    def test_the_interval_score_is_width_plus_forty_for_each_unit_outside(self):
        # widths 2 and 2; the second value is .5 above: 2 + (2 + 40 * .5) over 2
        self.assertAlmostEqual(metrics.interval_score([1.0, 2.5], [0, 0], [2, 2]), 12.0)

    def test_coverage_counts_the_ends(self):
        self.assertAlmostEqual(metrics.coverage([0, 2, 3, math.nan], [0] * 4, [2] * 4), 0.5)


class Nab(unittest.TestCase):
    def test_the_sigmoid_has_its_published_values(self):
        self.assertAlmostEqual(nab.scaled_sigmoid(-1.0), 0.98661, 5)
        self.assertAlmostEqual(nab.scaled_sigmoid(-0.5), 0.84828, 5)
        self.assertEqual(nab.scaled_sigmoid(0.0), 0.0)
        self.assertEqual(nab.scaled_sigmoid(3.0), -1.0)

    def test_probation_is_15_percent_and_at_most_750_rows(self):
        self.assertEqual((nab.probation(1000), nab.probation(4032), nab.probation(20_000)), (150, 604, 750))

    def test_a_detection_at_the_left_edge_is_perfect_and_a_second_one_free(self):
        windows = [(500, 599)]
        self.assertAlmostEqual(nab.raw_score(1000, [500], windows), 1.0)
        self.assertAlmostEqual(nab.raw_score(1000, [500, 550, 599], windows), 1.0)

    def test_a_detection_in_the_middle_of_a_window_is_worth_less(self):
        # row 550 of 500..=599: position -(599 - 550 + 1) / 100 = -.5
        self.assertAlmostEqual(nab.raw_score(1000, [550], [(500, 599)]), 0.848284 / 0.986614, 5)

    def test_a_missed_window_costs_what_the_profile_says(self):
        self.assertEqual(nab.raw_score(1000, [], [(500, 599)]), -1.0)
        self.assertEqual(nab.raw_score(1000, [], [(500, 599)], "low_FN"), -2.0)

    def test_a_false_detection_costs_less_soon_after_a_window(self):
        # 599 + 99 / 2 rows behind a window of 100: position 50 / 99
        after = nab.raw_score(1000, [500, 649], [(500, 599)]) - 1.0
        self.assertAlmostEqual(after, 0.11 * (2 / (1 + math.exp(5 * 50 / 99)) - 1))
        self.assertAlmostEqual(nab.raw_score(1000, [200, 500], [(500, 599)]), 1.0 - 0.11)
        self.assertAlmostEqual(nab.raw_score(1000, [200, 500], [(500, 599)], "low_FP"), 1.0 - 0.22)
        self.assertAlmostEqual(nab.raw_score(2000, [500, 950], [(500, 599)]), 1.0 - 0.11)

    def test_probation_does_not_count(self):
        self.assertEqual(nab.raw_score(1000, [10, 149], []), 0.0)
        self.assertEqual(nab.raw_score(1000, [150], []), -0.11)

    def test_saying_nothing_is_0_and_a_perfect_detector_100(self):
        times = np.arange(0, 1000 * 300, 300)
        series = {"a": (times, [(500 * 300, 599 * 300)]), "b": (times, [(200 * 300, 299 * 300), (800 * 300, 899 * 300)])}
        perfect = {"a": [500 * 300], "b": [200 * 300, 800 * 300]}
        for profile in nab.PROFILES:
            self.assertAlmostEqual(nab.corpus_score(series, {}, profile), 0.0)
            self.assertAlmostEqual(nab.corpus_score(series, perfect, profile), 100.0)

    def test_a_detection_between_two_rows_counts_from_the_next_row(self):
        self.assertEqual(nab.rows_at([0, 300, 600], [1, 300, 999]).tolist(), [1, 1, 2])


if __name__ == "__main__":
    unittest.main()
