//! Small values of a definition: sizes, durations, dates, and a value with its source.
//!
//! Parsing is strict: a unit is always written, nothing is rounded silently.

use ringfence_model::provenance::Source;
use serde::{Deserialize, Serialize};

use crate::limits::DURATION_MS;

/// A value and the place it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

impl<T> Sourced<T> {
    /// Joins a value with its source.
    pub fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }
}

/// Splits `12GiB` into 12 and `GiB`.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit))
}

/// A size such as `512M`, `4G` or `4GiB`, in bytes; units are powers of 1024.
pub fn size(text: &str) -> Result<u64, &'static str> {
    const SHAPE: &str = "a size is a whole number with K, M, G or T, such as \"4G\"";
    let (number, unit) = number_and_unit(text).ok_or(SHAPE)?;
    let shift = match unit.strip_suffix("iB").unwrap_or(unit) {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(SHAPE),
    };
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= 1 << 52).ok_or("the size is too large")
}

/// A duration such as `90s`, `30m`, `8h`, `2d` or `1h30m`, in milliseconds.
pub fn duration(text: &str) -> Result<u64, &'static str> {
    const SHAPE: &str =
        "a duration is a whole number with s, m, h or d, such as \"30m\" or \"1h30m\"";
    let mut rest = text;
    let mut total: u64 = 0;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let end = rest.bytes().position(|b| !b.is_ascii_digit()).ok_or(SHAPE)?;
        let number: u64 = rest[..end].parse().map_err(|_| SHAPE)?;
        let unit: u64 = match rest.as_bytes().get(end) {
            Some(b's') => 1000,
            Some(b'm') => 60_000,
            Some(b'h') => 3_600_000,
            Some(b'd') => 86_400_000,
            _ => return Err(SHAPE),
        };
        if unit >= last {
            return Err(SHAPE);
        }
        last = unit;
        total = number
            .checked_mul(unit)
            .and_then(|ms| total.checked_add(ms))
            .ok_or("the duration is too long")?;
        rest = &rest[end + 1..];
    }
    match total {
        0 => Err("a duration is longer than nothing"),
        ms if ms > DURATION_MS => Err("the duration is longer than ten years"),
        ms => Ok(ms),
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, "days from civil").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A TOML date and time with an offset, as Unix seconds; a time without an offset is refused, as
/// it would mean another moment on another machine.
pub fn unix_seconds(at: &toml::value::Datetime) -> Result<i64, &'static str> {
    const SHAPE: &str = "a moment is a date and time with an offset, such as 2026-12-01T00:00:00Z";
    let (Some(date), Some(time), Some(offset)) = (at.date, at.time, at.offset) else {
        return Err(SHAPE);
    };
    let minutes = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let day = days(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let of_day = i64::from(time.hour) * 3600
        + i64::from(time.minute) * 60
        + i64::from(time.second.unwrap_or(0));
    Ok(day * 86_400 + of_day - minutes * 60)
}

/// A size in the largest unit that divides it.
#[must_use]
pub fn size_words(bytes: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    if bytes >= 1 << 20 { format!("{}M", bytes >> 20) } else { format!("{bytes} bytes") }
}

/// A duration in the units of [`duration`].
#[must_use]
pub fn duration_words(ms: u64) -> String {
    let mut text = String::new();
    let mut rest = ms;
    for (unit, letter) in [(86_400_000, 'd'), (3_600_000, 'h'), (60_000, 'm'), (1000, 's')] {
        if rest >= unit {
            text.push_str(&(rest / unit).to_string());
            text.push(letter);
            rest %= unit;
        }
    }
    if text.is_empty() { format!("{ms}ms") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_strict() {
        assert_eq!(size("4G"), Ok(4 << 30));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        for bad in ["", "4", "4g", "4GB", "-1G", "1.5G", "G", "99999999999999T", "4 G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("1h30m"), Ok(5_400_000));
        assert_eq!(duration("2d"), Ok(172_800_000));
        for bad in
            ["", "2", "0s", "30m1h", "1h1h", "1.5h", "h", "99999d", "1h ", "18446744073709551615d"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration_words(5_400_000), "1h30m");
        assert_eq!(size_words(4 << 30), "4G");
    }

    #[test]
    fn moments_need_an_offset() {
        let unix = |text: &str| unix_seconds(&text.parse().unwrap());
        assert_eq!(unix("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(unix("2026-12-01T00:00:00Z"), Ok(1_796_083_200));
        assert_eq!(unix("2000-02-29T01:00:00+01:00"), Ok(951_782_400));
        assert!(unix("2026-12-01").is_err());
        assert!(unix("2026-12-01T00:00:00").is_err());
    }
}
