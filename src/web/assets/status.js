// One shape of what detectors report, whatever is missing from it or said in seconds.

import { isNumber } from './format.js';

const inMs = (ms, seconds) => (isNumber(ms) ? ms : isNumber(seconds) ? seconds * 1000 : null);

/** All groups of all detectors: a detector that has made no frame yet is one group without signals. */
export function groupsOf(status) {
  return Object.entries(status.detectors ?? {}).flatMap(([detector, report]) => {
    const groups = report?.groups?.length ? report.groups : [{}];
    return groups.map((group) => groupOf(detector, report ?? {}, group));
  });
}

function groupOf(detector, report, group) {
  const name = group.group ?? '';
  const model = group.model ?? report.model;
  return {
    detector,
    name,
    history: group.history ?? (name ? `${detector}/${name}` : detector),
    state: group.state ?? report.state ?? 'learning',
    readyInMs: inMs(group.ready_in_ms ?? report.ready_in_ms, group.ready_in_s ?? report.ready_in_s),
    intervalMs: inMs(report.interval_ms, report.frame_interval_s),
    learntFrames: model?.rows ?? model?.frames ?? null,
    timeMs: group.time_ms ?? group.last_frame_ms ?? null,
    models: modelsOf(group),
    signals: (group.signals ?? []).filter((signal) => signal?.name),
  };
}

function modelsOf(group) {
  const models = (group.models ?? []).map((model) => (Array.isArray(model) ? model : [model.name, model.score]));
  return models.length || !isNumber(group.score) ? models : [['score', group.score]];
}
