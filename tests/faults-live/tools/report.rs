//! The score as a table for people and as JSON, with what the issue asks for beside it.

use std::fmt;

use crate::score::{Report, Row, Share};

/// Targets: the issue's.
const RECALL: f64 = 0.9;
const PRECISION: f64 = 0.85;
const NAMED: f64 = 0.8;
const DELAY_FRAMES: f64 = 2.0;
const QUIET_MINUTES: f64 = 20.0;

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of == 0 {
            return f.pad("none");
        }
        let Share { hits, of, value, lower, upper } = self;
        f.pad(&format!("{hits}/{of} {value:.2} [{lower:.2}, {upper:.2}]"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<17}{:<26}{:<26}{:<26}{:>7}{:>9}{:>7}",
            "kind",
            "notified",
            "confirmed",
            "named right, of notified",
            "frames",
            "arrival",
            "pages"
        )?;
        for row in self.rows.iter().chain([&self.all]) {
            let Row { name, recall, confirmed, named, notifications, .. } = row;
            let (delay, arrival) =
                (number(row.median_delay_frames), number(row.median_arrival_seconds));
            writeln!(
                f,
                "{name:<17}{recall:<26}{confirmed:<26}{named:<26}{delay:>7}{arrival:>8}s{notifications:>7}"
            )?;
        }
        writeln!(
            f,
            "\nframes, arrival: median from the onset to the end of the frame that was notified, and until it could be read.\n"
        )?;
        let all = &self.all;
        let quiet = self.quiet_minutes;
        target(f, "recall", &all.recall.to_string(), ">= 0.90", all.recall.value >= RECALL)?;
        let precision = self.precision.value >= PRECISION;
        target(f, "precision", &self.precision.to_string(), ">= 0.85", precision)?;
        for (timeline, precision) in &self.precisions {
            writeln!(f, "  of {timeline:<11}{precision}")?;
        }
        target(f, "named right", &all.named.to_string(), ">= 0.80", all.named.value >= NAMED)?;
        let delay = format!("{} frames", number(all.median_delay_frames));
        target(f, "median delay", &delay, "<= 2", all.median_delay_frames <= DELAY_FRAMES)?;
        writeln!(f, "of incidents that are confirmed, called or not:")?;
        target(
            f,
            "  recall",
            &all.confirmed.to_string(),
            ">= 0.90",
            all.confirmed.value >= RECALL,
        )?;
        let share = self.confirmed_precision;
        target(f, "  precision", &share.to_string(), ">= 0.85", share.value >= PRECISION)?;
        let share = all.confirmed_named;
        target(f, "  named right", &share.to_string(), ">= 0.80", share.value >= NAMED)?;
        let frames = all.confirmed_delay_frames;
        let delay = format!("{} frames", number(frames));
        target(f, "  median delay", &delay, "<= 2", frames <= DELAY_FRAMES)?;
        let said = format!("{} in {quiet:.1} minutes", self.quiet_notifications);
        let met = self.quiet_notifications == 0 && quiet >= QUIET_MINUTES - 0.1;
        target(f, "quiet", &said, "0 in 20", met)?;
        for message in &self.false_messages {
            writeln!(f, "without a fault: {message}")?;
        }
        for one in self.outcomes.iter().filter(|one| one.named != Some(true)) {
            let plan = &one.fault.plan;
            write!(f, "{} {:.2} for {:.0} s: ", plan.kind.name(), plan.strength, plan.seconds)?;
            match (&one.message, one.confirmed) {
                (Some(message), _) => writeln!(
                    f,
                    "named {} (suspect {}): {message}",
                    one.top.as_deref().unwrap_or("nothing"),
                    one.suspect.as_deref().unwrap_or("none")
                )?,
                (None, true) => writeln!(f, "confirmed, not notified")?,
                (None, false) if one.fault.open_before.is_empty() => writeln!(f, "missed")?,
                (None, false) => writeln!(f, "missed; an incident before it was still open")?,
            }
        }
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.1}") } else { "-".to_owned() }
}

fn target(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    said: &str,
    wanted: &str,
    met: bool,
) -> fmt::Result {
    writeln!(f, "{name:<16}{said:<28}target {wanted:<9}{}", if met { "met" } else { "NOT MET" })
}
