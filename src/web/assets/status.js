// What detectors report (plugins/processors/anomaly/status.rs), as one list of groups.

import { isNumber } from './format.js';

const inMs = (seconds) => (isNumber(seconds) ? seconds * 1000 : null);

/** All groups of all detectors: a detector that has seen nothing yet is one group without signals. Observers without groups are none. */
export function groupsOf(status) {
  return Object.entries(status.detectors ?? {}).flatMap(([detector, report]) => {
    if (!Array.isArray(report?.groups)) return [];
    const groups = report.groups.length ? report.groups : [{}];
    return groups.map((group) => groupOf(detector, inMs(report.frame_interval_s), group));
  });
}

function groupOf(detector, intervalMs, group) {
  const name = group.group ?? '';
  return {
    detector,
    name,
    history: group.history ?? (name ? `${detector}/${name}` : detector),
    state: group.state ?? 'waiting',
    readyInMs: inMs(group.ready_in_s),
    intervalMs,
    learntFrames: group.model?.frames ?? null,
    tier: group.model?.tier ?? null,
    trainedMs: group.model?.upto_ms ?? null,
    refused: group.state === 'learning' ? null : group.training_refused ?? null,
    timeMs: group.time_ms ?? null,
    models: (group.models ?? []).map(({ name, score }) => [name, score]),
    signals: group.signals ?? [],
  };
}
