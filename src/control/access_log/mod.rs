//! The access log: takes the lines out of every worker's ring, gives them names and the time of day, and writes them to
//! a file in large pieces. A file that cannot be written to costs lines, never a request.

mod file;
mod format;
mod names;
mod timestamp;

use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;

pub use file::LogFile;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::access_log::format::{Record, write_line};
use crate::control::access_log::names::Names;
use crate::shared::access::AccessLine;
use crate::shared::gauges::{self, AllGauges};
use crate::snapshot::Snapshot;

const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(1);

/// The access log at work. Without a file, lines of requests that began when there was one are thrown away.
#[derive(Debug)]
pub struct AccessLog {
    file: Option<LogFile>,
    rings: Vec<Receiver<AccessLine>>,
    names: Names,
    gauges: AllGauges,
    /// Lost lines of which the program's log was told.
    told_lost: u64,
    /// When it was.
    told: Option<Micros>,
}

impl AccessLog {
    /// Takes lines from these rings, one per worker.
    pub fn new(
        file: Option<LogFile>,
        rings: Vec<Receiver<AccessLine>>,
        gauges: AllGauges,
    ) -> AccessLog {
        AccessLog {
            file,
            rings,
            names: Names::default(),
            gauges,
            told_lost: 0,
            told: None,
        }
    }

    /// Remembers the names of a snapshot that workers are about to use.
    pub fn learn(&mut self, snapshot: &Snapshot) {
        self.names.learn(snapshot);
    }

    /// Whether lines are written somewhere.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Writes to this file from now on, or to none.
    pub fn set_file(&mut self, file: Option<LogFile>) {
        if let Some(before) = &mut self.file {
            before.flush();
        }
        self.file = file;
    }

    /// Opens the file anew under its path, after something like logrotate has moved it away.
    pub fn reopen(&mut self) {
        let Some(file) = &mut self.file else {
            return;
        };
        let path = file.path().display().to_string();
        match file.reopen() {
            Ok(()) => tracing::info!(path, "SIGHUP: the access log is opened anew"),
            Err(error) => {
                tracing::error!(path, %error, "SIGHUP: the access log cannot be opened anew, the old file stays in use")
            }
        }
    }

    /// Writes the lines that wait, at most one full ring of each worker.
    pub fn round(&mut self, now: Micros) {
        let wall = SystemTime::now();
        let Some(file) = &mut self.file else {
            let rings = self.rings.iter();
            return rings.for_each(|ring| {
                ring.try_iter()
                    .take(limits::ACCESS_LOG_LINES)
                    .for_each(drop)
            });
        };
        for ring in &self.rings {
            for line in ring.try_iter().take(limits::ACCESS_LOG_LINES) {
                let ago = Duration::from_micros(now.since(line.began));
                let at = wall.checked_sub(ago).unwrap_or(wall);
                let names = self.names.of(&line);
                let record = Record {
                    line: &line,
                    names,
                    at,
                };
                file.write(|format, out| write_line(format, &record, out));
            }
        }
        file.flush();
        self.tell(now);
    }

    /// Says in the program's log what went wrong, once a second at most.
    fn tell(&mut self, now: Micros) {
        let Some(file) = &mut self.file else {
            return;
        };
        let lost = gauges::lost_lines(&self.gauges);
        let recently = self
            .told
            .is_some_and(|told| now < told.after(BETWEEN_COMPLAINTS));
        if recently || (lost == self.told_lost && !file.has_failed()) {
            return;
        }
        self.told = Some(now);
        if lost > self.told_lost {
            let lines = lost - self.told_lost;
            self.told_lost = lost;
            tracing::warn!(lines, "the access log is too slow: lines were lost");
        }
        if let Some((error, lines)) = file.take_failure() {
            tracing::error!(path = %file.path().display(), %error, lines, "the access log cannot be written: lines were lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::snapshot::{self, AccessLogFormat};

    #[test]
    fn losses_are_told_once_a_second_at_most() {
        let settings = snapshot::AccessLog {
            path: PathBuf::from("/dev/null"),
            format: AccessLogFormat::Combined,
        };
        let gauges = gauges::gauges(1);
        let mut log = AccessLog::new(
            Some(LogFile::open(&settings).unwrap()),
            Vec::new(),
            gauges.clone(),
        );
        let rows = [
            (0, false, 0),
            (100, true, 1),
            (200, true, 1),
            (1_099, true, 1),
            (1_100, false, 4),
            (2_500, false, 4),
        ];
        for (millis, loses, told) in rows {
            if loses {
                gauges[0].lose_line();
            }
            if millis == 1_099 {
                gauges[0].lose_line();
            }
            log.round(Micros(millis * 1_000));
            assert_eq!(log.told_lost, told, "after {millis} ms");
        }
    }
}
