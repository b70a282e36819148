//! The file that access-log lines go to, through a buffer of our own: the standard one would keep what it could not
//! write, and not say how many lines that were.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::base::limits;
use crate::snapshot::{self, AccessLogFormat};

/// The open file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    format: AccessLogFormat,
    file: File,
    buffer: Vec<u8>,
    /// The file ends in the middle of a line.
    torn: bool,
    failure: Option<(io::Error, u64)>,
}

impl LogFile {
    /// Opens the file for appending, or creates it. Errors: as the file system has them.
    pub fn open(settings: &snapshot::AccessLog) -> io::Result<LogFile> {
        Ok(LogFile {
            path: settings.path.clone(),
            format: settings.format,
            file: open(&settings.path)?,
            buffer: Vec::with_capacity(limits::ACCESS_LOG_WRITE_BYTES),
            torn: false,
            failure: None,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes out what is buffered and opens the path anew. Errors: as the file system has them; the old file goes on
    /// being used.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.flush();
        self.file = open(&self.path)?;
        self.torn = false;
        Ok(())
    }

    /// Adds one line, which `print` appends to the buffer.
    pub fn write(&mut self, print: impl FnOnce(AccessLogFormat, &mut Vec<u8>)) {
        print(self.format, &mut self.buffer);
        if self.buffer.len() >= limits::ACCESS_LOG_WRITE_BYTES {
            self.flush();
        }
    }

    /// Writes out what is buffered. What cannot be written is lost.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let (written, error) = self.write_buffer();
        if let Some(last) = self.buffer[..written].last() {
            self.torn = *last != b'\n';
        }
        if let Some(error) = error {
            let rest = &self.buffer[written..];
            let lost = rest.iter().filter(|byte| **byte == b'\n').count();
            self.fail(error, lost as u64);
        }
        self.buffer.clear();
    }

    /// How much of the buffer was written, and what prevented the rest.
    fn write_buffer(&mut self) -> (usize, Option<io::Error>) {
        if self.torn {
            if let Err(error) = self.file.write_all(b"\n") {
                return (0, Some(error));
            }
            self.torn = false;
        }
        let mut written = 0;
        while written < self.buffer.len() {
            match self.file.write(&self.buffer[written..]) {
                Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Some(error)),
            }
        }
        (written, None)
    }

    fn fail(&mut self, error: io::Error, lines: u64) {
        let before = self.failure.take().map_or(0, |(_, lines)| lines);
        self.failure = Some((error, before + lines));
    }

    /// Whether there is something for [`LogFile::take_failure`].
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The last error since the previous call, and how many lines went missing in all since then.
    pub fn take_failure(&mut self) -> Option<(io::Error, u64)> {
        self.failure.take()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log_file(name: &str) -> (PathBuf, LogFile) {
        let path = std::env::temp_dir().join(format!("palantir-{name}-{}.log", std::process::id()));
        let _ = fs::remove_file(&path);
        let settings = snapshot::AccessLog {
            path: path.clone(),
            format: AccessLogFormat::Json,
        };
        (path, LogFile::open(&settings).unwrap())
    }

    fn write(file: &mut LogFile, line: &str) {
        file.write(|_, out| out.extend_from_slice(line.as_bytes()));
    }

    #[test]
    fn lines_are_appended_and_the_path_is_opened_anew_after_it_was_moved() {
        let (path, mut file) = log_file("moved");
        write(&mut file, "one\n");
        file.flush();
        let moved = path.with_extension("1");
        fs::rename(&path, &moved).unwrap();
        write(&mut file, "two\n");
        file.reopen().unwrap();
        write(&mut file, "three\n");
        file.flush();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert!(!file.has_failed());
        fs::remove_file(moved).unwrap();
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_opened_anew_leaves_the_old_file_in_use() {
        let (path, mut file) = log_file("kept");
        file.path = PathBuf::from("/nonexistent/access.log");
        assert_eq!(file.reopen().unwrap_err().kind(), io::ErrorKind::NotFound);
        write(&mut file, "one\n");
        file.flush();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_buffer_stays_bounded() {
        let settings = snapshot::AccessLog {
            path: PathBuf::from("/dev/full"),
            format: AccessLogFormat::Json,
        };
        let mut file = LogFile::open(&settings).unwrap();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..10_000 {
            write(&mut file, &line);
            assert!(file.buffer.len() < limits::ACCESS_LOG_WRITE_BYTES);
        }
        file.flush();
        let (error, lines) = file.take_failure().unwrap();
        assert_eq!((error.kind(), lines), (io::ErrorKind::StorageFull, 10_000));
        assert!(!file.has_failed());
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next_one() {
        let (path, mut file) = log_file("torn");
        write(&mut file, "half a li");
        file.flush();
        write(&mut file, "whole\n");
        file.flush();
        write(&mut file, "next\n");
        file.flush();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "half a li\nwhole\nnext\n"
        );
        fs::remove_file(path).unwrap();
    }
}
