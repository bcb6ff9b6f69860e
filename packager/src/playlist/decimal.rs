//! Numbers as playlists want them: fixed point from integers, never through a float.

use std::fmt;

use timeline::{Span, TICKS_PER_SECOND, WallTime};

/// Seconds with five decimals, to the nearest. Whole segments are exact, so nothing adds up over a long line.
pub struct Seconds(pub Span);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNIT: i128 = 100_000;
        let ticks = i128::from(self.0.ticks().max(0)) * UNIT;
        let units = (ticks + i128::from(TICKS_PER_SECOND) / 2) / i128::from(TICKS_PER_SECOND);
        write!(f, "{}.{:05}", units / UNIT, units % UNIT)
    }
}

/// The smallest number of five decimals that is not less: a promise of a greatest length.
pub struct SecondsUp(pub Span);

impl fmt::Display for SecondsUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNIT: i64 = 100_000;
        let units = (self.0.ticks().max(0) * UNIT + TICKS_PER_SECOND - 1) / TICKS_PER_SECOND;
        write!(f, "{}.{:05}", units / UNIT, units % UNIT)
    }
}

/// Milliseconds as seconds.
pub struct Millis(pub u32);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// ISO 8601 in UTC with milliseconds: `2026-11-20T10:00:00.000Z`.
pub struct DateTime(pub WallTime);

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400_000;
        let ms = self.0.unix_millis();
        let (year, month, day) = civil(ms.div_euclid(DAY));
        let ms = ms.rem_euclid(DAY);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            ms % 1000
        )
    }
}

/// Days since 1970 as year, month, day of the Gregorian calendar. Years are counted from March, so that the
/// leap day ends them; 400 years have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact_decimals() {
        let seconds = |ticks| Seconds(Span::from_ticks(ticks)).to_string();
        assert_eq!(seconds(288_000), "3.20000");
        assert_eq!(seconds(19_200), "0.21333");
        assert_eq!(seconds(17_280), "0.19200");
        assert_eq!(seconds(3_000), "0.03333");
        assert_eq!(seconds(i64::MAX), "102481911520608.62008");
        assert_eq!(SecondsUp(Span::from_ticks(19_200)).to_string(), "0.21334");
        assert_eq!(SecondsUp(Span::from_ticks(18_000)).to_string(), "0.20000");
        assert_eq!(Millis(650).to_string(), "0.650");
        assert_eq!(Millis(18_000).to_string(), "18.000");
    }

    #[test]
    fn dates_are_dates() {
        // As `date -u -d @… +%FT%T` gives them.
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_760_000_000_000, "2025-10-09T08:53:20.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(DateTime(WallTime::from_unix_millis(ms)).to_string(), text);
        }
    }
}
