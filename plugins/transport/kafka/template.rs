//! Texts with names in them, `logs-%{job}`: topics, keys and labels made of what an event or a message has.
//!
//! `%{` because `${` is the configuration's own. Compiled once; what it gives is bounded.

/// A compiled text.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(Box<str>),
    Name(Box<str>),
}

/// Why a template gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is nothing of this name.
    Missing(Box<str>),
    /// It would be longer than it may.
    TooLong,
}

impl Template {
    /// Compiles. The error says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("%{") {
            let (before, after) = (&rest[..start], &rest[start + 2..]);
            let end = after
                .find('}')
                .ok_or_else(|| format!("\"{}\" is not closed by }}", &rest[start..]))?;
            let name = after[..end].trim();
            if name.is_empty() {
                return Err("%{} names nothing".to_owned());
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Name(name.into()));
            rest = &after[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Template { parts })
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(&**name),
            Part::Text(_) => None,
        })
    }

    /// Whether it gives nothing but the empty text.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Appends the text to `out`; `put` appends what a name stands for, or is false. At most `limit` bytes.
    ///
    /// Errors: `out` is as it was before.
    pub fn render(
        &self,
        out: &mut String,
        limit: usize,
        mut put: impl FnMut(&str, &mut String) -> bool,
    ) -> Result<(), Refused> {
        let before = out.len();
        for part in &self.parts {
            let refused = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    None
                }
                Part::Name(name) if put(name, out) => None,
                Part::Name(name) => Some(Refused::Missing(name.clone())),
            };
            let refused =
                refused.or_else(|| (out.len() - before > limit).then_some(Refused::TooLong));
            if let Some(refused) = refused {
                out.truncate(before);
                return Err(refused);
            }
        }
        Ok(())
    }
}
