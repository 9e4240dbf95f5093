//! Times as they stand in records: RFC 3339 in UTC with nanoseconds. The clock is the caller's.

use std::fmt::Write as _;

/// When something happened, read from both clocks by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Wall clock: seconds since 1970-01-01T00:00:00Z.
    pub unix_s: i64,
    /// Wall clock: nanoseconds within the second, below 1,000,000,000.
    pub unix_ns: u32,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub boot_ns: u64,
}

/// Length of a time in a record, in bytes.
pub(crate) const TIME_BYTES: usize = "2026-11-25T01:30:28.000000000Z".len();

/// The wall clock of a stamp, such as `2026-11-25T01:30:28.000000000Z`. A time outside the years
/// 0001–9999 (a broken clock) is held at the nearest end.
#[must_use]
pub fn rfc3339(stamp: Stamp) -> String {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_300_799;
    let seconds = stamp.unix_s.clamp(FIRST, LAST);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let rest = seconds.rem_euclid(86_400);
    let mut out = String::with_capacity(TIME_BYTES);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        stamp.unix_ns.min(999_999_999)
    );
    out
}

/// Year, month and day of a day number counted from 1970-01-01 (proleptic Gregorian calendar).
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March, so that the leap day is the last of its year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Whether a text has the exact form of [`rfc3339`], so that texts compare as times do.
pub(crate) fn is_time(text: &[u8]) -> bool {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd.dddddddddZ";
    text.len() == FORM.len()
        && text.iter().zip(FORM).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            form => byte == form,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn al5_times_are_rfc_3339() {
        let at = |unix_s, unix_ns| rfc3339(Stamp { unix_s, unix_ns, boot_ns: 0 });
        // As `date -u -d @N +%FT%TZ` says.
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(at(1_795_570_228, 999_999_999), "2026-11-25T01:30:28.999999999Z");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59.000000000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(at(-1, 0), "1969-12-31T23:59:59.000000000Z");
        assert_eq!(at(i64::MAX, 0), "9999-12-31T23:59:59.000000000Z");
        assert!(is_time(at(i64::MIN, u32::MAX).as_bytes()));
        assert!(!is_time(b"2026-11-25T01:30:28Z"));
    }
}
