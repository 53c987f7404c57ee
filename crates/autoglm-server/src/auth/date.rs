//! Times as TOML writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use toml::value::{Date, Datetime, Offset, Time};

const DAY_SECONDS: i64 = 86_400;

/// The time that is written: a date alone is its beginning in UTC, a time of day needs an offset.
pub(super) fn time(written: &Datetime) -> Option<SystemTime> {
    let date = written.date?;
    let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
    let of_day = match (written.time, written.offset) {
        (None, None) => 0,
        (Some(time), Some(offset)) => second_of_day(time) - 60 * minutes_ahead(offset),
        _ => return None,
    };
    let seconds = u64::try_from(days * DAY_SECONDS + of_day).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// A time in UTC, to the second.
pub(super) fn written(time: SystemTime) -> Datetime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() as i64;
    let second = (seconds % DAY_SECONDS) as u32;
    Datetime {
        date: Some(date_of(seconds / DAY_SECONDS)),
        time: Some(Time {
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: Some((second % 60) as u8),
            nanosecond: None,
        }),
        offset: Some(Offset::Z),
    }
}

fn second_of_day(time: Time) -> i64 {
    let second = time.second.unwrap_or(0);
    3600 * i64::from(time.hour) + 60 * i64::from(time.minute) + i64::from(second)
}

fn minutes_ahead(offset: Offset) -> i64 {
    match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => minutes.into(),
    }
}

/// Days from 1970-01-01 to a date.
///
/// # Source
/// Hinnant 2013, `chrono`-Compatible Low-Level Date Algorithms, `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is their last.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date so many days after 1970-01-01.
///
/// # Source
/// As above, `civil_from_days`.
fn date_of(days: i64) -> Date {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = (shifted_month + 2) % 12 + 1;
    Date {
        year: (year_of_era + era * 400 + i64::from(month <= 2)) as u16,
        month: month as u8,
        day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        let time = time(&text.parse().unwrap())?;
        Some(time.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn dates_and_times_with_offsets_are_read() {
        assert_eq!(seconds("1970-01-01"), Some(0));
        assert_eq!(seconds("2000-02-29T12:34:56Z"), Some(951_827_696));
        assert_eq!(seconds("2000-02-29T20:34:56+08:00"), Some(951_827_696));
        assert_eq!(seconds("2026-12-31T23:59:59Z"), Some(1_798_761_599));
    }

    #[test]
    fn a_time_that_could_be_several_is_refused() {
        for text in ["2027-01-01T00:00:00", "12:00:00", "1969-12-31"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_over_four_centuries() {
        for day in 0..146_097 {
            let at = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            assert_eq!(time(&written(at)), Some(at));
        }
    }
}
