//! How well scores rank labelled rows: the area under the ROC curve.

#[cfg(test)]
mod tests;

/// Probability that a random positive row scores above a random negative one, equal scores counting half: the area
/// under the ROC curve, computed from mid-ranks (Mann and Whitney 1947). O(n log n).
///
/// `scores` and `labels` (true = positive) have one entry per row; a NaN score ranks below every number.
/// Returns NaN when there is no positive or no negative row.
///
/// # Panics
/// If the lengths differ.
pub fn roc_auc(scores: &[f64], labels: &[bool]) -> f64 {
    assert_eq!(scores.len(), labels.len(), "one label per score");
    let mut ranked: Vec<(f64, bool)> = scores
        .iter()
        .map(|score| if score.is_nan() { f64::NEG_INFINITY } else { *score })
        .zip(labels.iter().copied())
        .collect();
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));

    let mut rank_sum = 0.0;
    let mut below = 0;
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let mid_rank = below as f64 + (tied.len() + 1) as f64 / 2.0;
        rank_sum += mid_rank * tied.iter().filter(|row| row.1).count() as f64;
        below += tied.len();
    }

    let positives = labels.iter().filter(|label| **label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}
