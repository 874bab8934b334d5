//! The container runtimes' file format: `2016-10-06T00:17:09.669794202Z stdout F message`.
//!
//! The message becomes the body, as a slice. A runtime cuts long lines into partial ones (tag `P`) and a last one (`F`):
//! they are joined per stream within a batch. What is still open at a batch's end is passed on as it is, with its
//! `logtag`, and counted: keeping it back would acknowledge a line that is only in memory.
//! https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use sentinel_contract::{Field, Fields, Log, Name, Value};

use super::time::{CivilClock, Stamp};

/// A joined line is cut here, as tail cuts lines.
const MAX_LINE: usize = 256 * 1024;

/// What a line says of itself.
pub(super) struct Cri {
    pub(super) time: Stamp,
    is_stderr: bool,
    is_partial: bool,
    message: usize,
}

/// Reads a line.
pub(super) fn parse(line: &[u8], clock: &mut CivilClock, now_ns: i64) -> Option<Cri> {
    let space = memchr(b' ', line)?;
    let time = clock.rfc3339(std::str::from_utf8(&line[..space]).ok()?, now_ns)?;
    let rest = &line[space + 1..];
    let is_stderr = match rest.get(..7)? {
        b"stdout " => false,
        b"stderr " => true,
        _ => return None,
    };
    let tags = &rest[7..];
    let tags_end = memchr(b' ', tags).unwrap_or(tags.len());
    let is_partial = match tags[..tags_end].split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let message = (space + 1 + 7 + tags_end + 1).min(line.len());
    Some(Cri { time, is_stderr, is_partial, message })
}

/// A partial line that waits for its end within the batch.
struct Open {
    at: usize,
    is_stderr: bool,
    body: BytesMut,
    is_whole: bool,
}

/// Partial lines of one batch.
#[derive(Default)]
pub(super) struct Joiner {
    open: Vec<Open>,
    emptied: Vec<usize>,
}

impl Joiner {
    /// Gives `logs[at]` its message as body, and joins it to what is open of its stream.
    pub(super) fn take(&mut self, logs: &mut [Log], at: usize, cri: &Cri) {
        let log = &mut logs[at];
        log.body = log.body.slice(cri.message..);
        let stream = if cri.is_stderr { "stderr" } else { "stdout" };
        log.fields = Some(Box::new(Fields(vec![Field {
            name: Name::Static("stream"),
            value: Value::Text(stream.into()),
        }])));
        let place = self.open.iter().position(|open| {
            open.is_stderr == cri.is_stderr && Arc::ptr_eq(&logs[open.at].stream, &logs[at].stream)
        });
        let Some(place) = place else {
            if cri.is_partial {
                let body = BytesMut::from(&logs[at].body[..]);
                self.open.push(Open { at, is_stderr: cri.is_stderr, body, is_whole: true });
            }
            return;
        };
        let open = &mut self.open[place];
        let part = std::mem::take(&mut logs[at].body);
        if open.body.len() + part.len() > MAX_LINE {
            // Too long for one line: what there is stands, the rest begins another.
            let body = std::mem::replace(&mut open.body, BytesMut::from(&part[..]));
            logs[open.at].body = body.freeze();
            logs[at].body = part;
            open.at = at;
            open.is_whole = true;
        } else {
            open.body.extend_from_slice(&part);
            self.emptied.push(at);
            open.is_whole = false;
        }
        if !cri.is_partial {
            let open = self.open.swap_remove(place);
            logs[open.at].body = open.body.freeze();
        }
    }

    /// Ends the batch: removes the lines that were joined to others. Returns how many stay partial.
    pub(super) fn finish(mut self, logs: &mut Vec<Log>) -> (usize, usize) {
        let partial = self.open.len();
        for open in self.open {
            let log = &mut logs[open.at];
            if !open.is_whole {
                log.body = open.body.freeze();
            }
            let tag = Field { name: Name::Static("logtag"), value: Value::Text("P".into()) };
            log.fields.get_or_insert_default().0.push(tag);
        }
        self.emptied.sort_unstable();
        let (mut index, mut next) = (0, 0);
        logs.retain(|_| {
            let is_joined = self.emptied.get(next) == Some(&index);
            next += usize::from(is_joined);
            index += 1;
            !is_joined
        });
        (partial, self.emptied.len())
    }
}

/// The body of a field, for `body_from`: fields that point into the new body move with it, others are copied.
pub(super) fn replace_body(log: &mut Log, field: &str) {
    let Some(fields) = log.fields.as_mut() else { return };
    let Some(at) = fields.0.iter().position(|it| it.name.as_str() == field) else { return };
    let (start, end) = match &fields.0[at].value {
        Value::Slice(start, end) => (*start, *end),
        Value::Text(text) => {
            let body = Bytes::copy_from_slice(text.as_bytes());
            fields.0.remove(at);
            move_slices(fields, &log.body, u32::MAX, u32::MAX);
            log.body = body;
            return;
        }
        Value::Number(_) => return,
    };
    fields.0.remove(at);
    move_slices(fields, &log.body, start, end);
    log.body = log.body.slice(start as usize..end as usize);
}

fn move_slices(fields: &mut Fields, body: &[u8], start: u32, end: u32) {
    for field in &mut fields.0 {
        let Value::Slice(from, to) = field.value else { continue };
        field.value = if from >= start && to <= end {
            Value::Slice(from - start, to - start)
        } else {
            let text = &body[from as usize..to as usize];
            Value::Text(String::from_utf8_lossy(text).into())
        };
    }
}
