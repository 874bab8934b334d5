//! Numbers and times into a buffer of bytes, without `write!`: it costs more than the rest of a line.
//!
//! A second is written once and then copied. Calendar: Howard Hinnant, "chrono-compatible low-level date algorithms".

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECOND_NS: i64 = 1_000_000_000;

/// Appends a number in decimal.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the last `WIDTH` digits of a number, with zeros in front.
pub(super) fn padded<const WIDTH: usize>(out: &mut Vec<u8>, value: u64) {
    let mut digits = [b'0'; WIDTH];
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends 16 hexadecimal digits.
pub(super) fn hex(out: &mut Vec<u8>, value: u64) {
    let digit = |at: u32| b"0123456789abcdef"[(value >> (60 - 4 * at)) as usize & 15];
    out.extend_from_slice(&std::array::from_fn::<u8, 16, _>(|at| digit(at as u32)));
}

/// A second, as it is written in lines.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: Option<i64>,
    web: Vec<u8>,
    iso: Vec<u8>,
}

impl Stamp {
    /// Appends `30/Nov/2026:01:44:23 +0000`.
    pub(super) fn web(&mut self, out: &mut Vec<u8>, time_ns: i64) {
        self.turn(time_ns);
        out.extend_from_slice(&self.web);
    }

    /// Appends `2026-11-30T01:44:23.123456Z`.
    pub(super) fn iso(&mut self, out: &mut Vec<u8>, time_ns: i64) {
        self.turn(time_ns);
        out.extend_from_slice(&self.iso);
        padded::<6>(out, (time_ns.rem_euclid(SECOND_NS) / 1000) as u64);
        out.push(b'Z');
    }

    fn turn(&mut self, time_ns: i64) {
        let second = time_ns.div_euclid(SECOND_NS);
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        let (year, month, day) = civil(second.div_euclid(86_400));
        let of_day = second.rem_euclid(86_400) as u64;
        let clock = [of_day / 3600, of_day / 60 % 60, of_day % 60];
        let Stamp { web, iso, .. } = self;
        web.clear();
        padded::<2>(web, day);
        web.push(b'/');
        web.extend_from_slice(MONTHS[month as usize - 1].as_bytes());
        web.push(b'/');
        padded::<4>(web, year);
        for part in clock {
            web.push(b':');
            padded::<2>(web, part);
        }
        web.extend_from_slice(b" +0000");
        iso.clear();
        padded::<4>(iso, year);
        for (mark, part) in
            [b'-', b'-', b'T', b':', b':'].iter().zip([month, day].iter().chain(&clock))
        {
            iso.push(*mark);
            padded::<2>(iso, *part);
        }
        iso.push(b'.');
    }
}

/// Year, month and day of a day since 1970; years before 0 are written as 0.
fn civil(days: i64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 1 March of year 0
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153; // March is 0
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year.max(0) as u64, month as u64, (of_year - (153 * shifted + 2) / 5 + 1) as u64)
}
