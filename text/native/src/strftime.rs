//! Python's `datetime.strftime` for the time that the caller passes in.

use std::ffi::CString;

use serde::Deserialize;

/// A local time: year, month, day, hour, minute, second, microsecond, weekday (Sunday is
/// 0), day of the year (from 1).
#[derive(Clone, Copy, Deserialize)]
pub struct LocalTime([i32; 9]);

impl LocalTime {
    /// Formats as Python does for a time without a zone: libc's strftime, except that
    /// `%f` is microseconds and zones are empty.
    pub fn format(self, format: &str) -> String {
        let [year, month, day, hour, minute, second, microsecond, weekday, yearday] = self.0;
        let format = python_directives(format, microsecond);
        // SAFETY: tm is plain data, for which zero is a value (and a null zone name).
        let mut tm: libc::tm = unsafe { std::mem::zeroed() };
        tm.tm_year = year - 1900;
        tm.tm_mon = month - 1;
        tm.tm_mday = day;
        tm.tm_hour = hour;
        tm.tm_min = minute;
        tm.tm_sec = second;
        tm.tm_wday = weekday;
        tm.tm_yday = yearday - 1;
        tm.tm_isdst = -1;
        // strftime cannot tell an empty result from a short buffer: a sentinel avoids the first.
        let Ok(pattern) = CString::new(format!("{format}|")) else {
            return String::new();
        };
        let mut out = vec![0u8; 64 + format.len() * 16];
        // SAFETY: all three point to live memory of the stated size.
        let written =
            unsafe { libc::strftime(out.as_mut_ptr().cast(), out.len(), pattern.as_ptr(), &tm) };
        out.truncate(written.saturating_sub(1));
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn python_directives(format: &str, microsecond: i32) -> String {
    let mut out = String::with_capacity(format.len());
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('f') => out.push_str(&format!("{microsecond:06}")),
            Some('z' | 'Z') => {}
            Some(directive) => out.extend(['%', directive]),
            None => out.push_str("%%"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_python_does() {
        let time = LocalTime([2024, 7, 4, 9, 5, 3, 42, 4, 186]);
        assert_eq!(time.format("%d %b %Y"), "04 Jul 2024");
        assert_eq!(
            time.format("%A, %-d %B %y %H:%M:%S %j"),
            "Thursday, 4 July 24 09:05:03 186"
        );
        assert_eq!(time.format("%I %p%z%Z .%f 100%%"), "09 AM .000042 100%");
        assert_eq!(time.format(""), "");
        assert_eq!(time.format("é%"), "é%");
    }
}
