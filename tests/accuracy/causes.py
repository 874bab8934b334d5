"""Whether the true cause was near the top: SMD's explained segments, the incident that covers each, and two plain rankings.

An incident covers a segment when it was confirmed and not over at some time of the segment; of several the first one
confirmed inside it, otherwise the one that was open already. The plain rankings see the same rows as the incident did at that
moment: from its start to then, and before it.
"""
import numpy as np

BEFORE = 120  # minutes that the change ranking takes as usual
FLOOR = 0.01  # of SMD's range 0..1


def covering(incidents, start, end):
    """(incident, opened inside) or None."""
    confirmed = [incident for incident in incidents if incident.confirmed is not None]
    inside = [incident for incident in confirmed if start <= incident.confirmed <= end]
    if inside:
        return min(inside, key=lambda incident: incident.confirmed), True
    across = [incident for incident in confirmed if incident.confirmed < start <= incident.ended]
    return (max(across, key=lambda incident: incident.confirmed), False) if across else None


def change_ranking(rows, first, now, names):
    """By (largest distance from the usual median since `first`) / (usual interquartile range): BARO, arXiv 2405.09330."""
    usual = rows[max(0, first - BEFORE):max(first, 1)]
    low, middle, high = np.nanquantile(usual, [0.25, 0.5, 0.75], axis=0)
    far = np.nanmax(np.abs(rows[first:now + 1] - middle), axis=0) / (high - low + FLOOR)
    return [names[i] for i in np.argsort(-far, kind="stable")]


def z_ranking(rows, first, now, names, mean, deviation):
    """By the largest train-scaled |z| since `first`."""
    far = np.nanmax(np.abs(rows[first:now + 1] - mean) / deviation, axis=0)
    return [names[i] for i in np.argsort(-far, kind="stable")]


def answers(machine, incidents, mean, deviation):
    """For each covered segment: opened inside or not, and for each ranking and moment the place of the first true cause."""
    found = []
    for start, end, causes in machine.explain:
        covered = covering(incidents, start, end)
        if covered is None:
            continue
        incident, fresh = covered
        first = int(np.searchsorted(machine.times, max(incident.started, machine.times[0])))
        entry = {"opened": fresh, "start": start}
        for moment, (time, ranking) in (("notification", incident.ranking_at_notification()),
                                        ("resolution", incident.ranking_at_end())):
            now = max(int(np.searchsorted(machine.times, time, side="right")) - 1, first)
            entry[moment] = {
                "ours": place(ranking, causes),
                "change ranking": place(change_ranking(machine.test, first, now, machine.names), causes),
                "largest z": place(z_ranking(machine.test, first, now, machine.names, mean, deviation), causes),
            }
        found.append(entry)
    return found


def place(ranking, causes):
    """1 for the first place; infinity when no true cause was named."""
    return next((i for i, name in enumerate(ranking, 1) if name in causes), float("inf"))
