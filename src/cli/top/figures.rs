//! Figures as people read them.

/// The text that stands where there is nothing to tell.
const NOTHING: &str = "-";

/// A rate: with a decimal while it is small.
pub(super) fn rate(value: f64) -> String {
    match value {
        value if value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        value if value < 100_000.0 => format!("{value:.0}"),
        value if value < 10_000_000.0 => format!("{:.0}k", value / 1e3),
        value => format!("{:.1}M", value / 1e6),
    }
}

/// A number of bytes in its largest unit.
pub(super) fn size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes.max(0.0);
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < units.len() {
        value /= 1_024.0;
        unit += 1;
    }
    match value {
        value if unit > 0 && value < 10.0 => format!("{value:.1} {}", units[unit]),
        value => format!("{value:.0} {}", units[unit]),
    }
}

/// A time in milliseconds.
pub(super) fn latency(ms: Option<f64>) -> String {
    match ms {
        None => NOTHING.to_owned(),
        Some(0.0) => "0 ms".to_owned(),
        Some(ms) if ms < 0.995 => format!("{ms:.2} ms"),
        Some(ms) if ms < 9.95 => format!("{ms:.1} ms"),
        Some(ms) if ms < 999.5 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1e3),
    }
}

pub(super) fn percent(value: Option<f64>) -> String {
    match value {
        None => NOTHING.to_owned(),
        Some(value) if value == 0.0 || value >= 10.0 => format!("{value:.0} %"),
        Some(value) => format!("{value:.1} %"),
    }
}

/// How long something lasts, in its largest units.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A state as a shape and a word: its colour is never the only sign.
pub(super) fn state(word: &str) -> String {
    let shape = match word {
        "healthy" => '●',
        "unhealthy" => '▲',
        "ejected" => '◆',
        "draining" => '◐',
        _ => '○',
    };
    format!("{shape} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 0.5, 9.0, 1234.4, 250_000.0, 12_345_678.0].map(rate),
            ["0", "0.5", "9", "1234", "250k", "12.3M"]
        );
        assert_eq!(
            [
                None,
                Some(0.0),
                Some(0.4),
                Some(3.21),
                Some(45.6),
                Some(1_500.0)
            ]
            .map(latency),
            ["-", "0 ms", "0.40 ms", "3.2 ms", "46 ms", "1.5 s"]
        );
        assert_eq!(
            [None, Some(0.0), Some(0.5), Some(38.2)].map(percent),
            ["-", "0 %", "0.5 %", "38 %"]
        );
        assert_eq!(
            [0.0, 1_023.0, 1_536.0, 20.0 * 1_048_576.0, 5e12].map(size),
            ["0 B", "1023 B", "1.5 KiB", "20 MiB", "4657 GiB"]
        );
        assert_eq!(
            [-1.0, 59.9, 60.0, 3660.0, 90_000.0].map(duration),
            ["0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn states_differ_without_colour() {
        let words = ["healthy", "unhealthy", "ejected", "draining", "new"];
        let mut shapes: Vec<char> = words
            .iter()
            .filter_map(|word| state(word).chars().next())
            .collect();
        shapes.dedup();
        assert_eq!(shapes.len(), words.len());
    }
}
