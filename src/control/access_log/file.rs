//! The file that access-log lines go to, through a buffer of our own: the standard one would keep what it could not
//! write, and not say how many lines that were.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::open::{in_time, open};
use super::progress::LogProgress;
use crate::base::limits;
use crate::base::time::Micros;
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
    /// Whether the file is a pipe that stayed full for as long as this thread waits for a reader.
    clogged: bool,
    /// The file has no name any more: lines that are written to the file are lost.
    deleted: bool,
    failure: Option<(io::Error, u64)>,
}

/// Opens the file on a thread of its own, since a disk that hangs may block the thread. Errors: as the file system
/// reports them, or the file is not open in time.
pub fn open_in_time(settings: &snapshot::AccessLog, patience: Duration) -> io::Result<LogFile> {
    let settings = settings.clone();
    in_time(patience, move || LogFile::open(&settings))
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
            clogged: false,
            deleted: false,
            failure: None,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the path anew. Nothing may be buffered. Errors: as the file system reports them; the old file then stays
    /// in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        self.torn = false;
        self.clogged = false;
        self.deleted = false;
        Ok(())
    }

    /// Looks whether the open file still has a name.
    pub fn look_whether_deleted(&mut self) {
        let is_gone = |metadata: Metadata| metadata.is_file() && metadata.nlink() == 0;
        self.deleted = self.file.metadata().is_ok_and(is_gone);
    }

    /// Whether the path names another file by now; false if the path names no file.
    pub fn is_replaced(&self) -> bool {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(named), Ok(open)) => identity(named) != identity(open),
            _ => false,
        }
    }

    /// Adds one line, which `print` appends to the buffer.
    pub fn write(
        &mut self,
        progress: &LogProgress,
        print: impl FnOnce(AccessLogFormat, &mut Vec<u8>),
    ) {
        print(self.format, &mut self.buffer);
        if self.buffer.len() >= limits::ACCESS_LOG_WRITE_BYTES {
            self.flush(progress);
        }
    }

    /// Writes out what is buffered. Bytes that cannot be written are lost and counted.
    pub fn flush(&mut self, progress: &LogProgress) {
        if self.buffer.is_empty() {
            return;
        }
        progress.note_moved(Micros::now());
        let (written, error) = self.write_buffer();
        if let Some(last) = self.buffer[..written].last() {
            self.torn = *last != b'\n';
        }
        let (kept, error) = match (error, self.deleted) {
            (None, true) => (0, Some(io::Error::other("the file was deleted"))),
            (error, _) => (written, error),
        };
        if let Some(error) = error {
            let rest = &self.buffer[kept..];
            let lost = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
            progress.lose(lost);
            self.fail(error, lost);
        }
        self.buffer.clear();
        progress.note_moved(Micros::now());
    }

    /// How much of the buffer was written, and what prevented the rest.
    fn write_buffer(&mut self) -> (usize, Option<io::Error>) {
        if self.torn {
            if let Err(error) = self.write_some(b"\n") {
                return (0, Some(error));
            }
            self.torn = false;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut written = 0;
        let mut failure = None;
        while written < buffer.len() && failure.is_none() {
            match self.write_some(&buffer[written..]) {
                Ok(count) => written += count,
                Err(error) => failure = Some(error),
            }
        }
        self.buffer = buffer;
        (written, failure)
    }

    /// Writes at least one byte. The thread waits once for a pipe that is full. After that, until the pipe takes
    /// something again, writing fails at once, so that nobody who waits for this thread waits for a reader that has
    /// stopped.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.clogged = false;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) if !self.clogged && self.has_room()? => {}
                Err(_) => {
                    self.clogged = true;
                    let text = "the pipe is full and nobody reads it";
                    return Err(io::Error::new(ErrorKind::WouldBlock, text));
                }
            }
        }
    }

    /// Waits for a moment until something can be written. Returns whether something can be.
    fn has_room(&self) -> io::Result<bool> {
        let patience = Duration::from_millis(limits::ACCESS_LOG_WAIT_MILLIS);
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut file = [PollFd::new(&self.file, PollFlags::OUT)];
        Ok(poll(&mut file, Some(&patience))? > 0)
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

#[cfg(test)]
mod tests {
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

    fn write(file: &mut LogFile, line: &str) -> u64 {
        let progress = LogProgress::new(Micros::now());
        file.write(&progress, |_, out| out.extend_from_slice(line.as_bytes()));
        progress.lost_lines()
    }

    fn flush(file: &mut LogFile) -> u64 {
        let progress = LogProgress::new(Micros::now());
        file.flush(&progress);
        progress.lost_lines()
    }

    #[test]
    fn lines_are_appended_and_the_path_is_opened_anew_after_it_was_moved() {
        let (path, mut file) = log_file("moved");
        write(&mut file, "one\n");
        flush(&mut file);
        let moved = path.with_extension("1");
        fs::rename(&path, &moved).unwrap();
        assert!(!file.is_replaced(), "the path names nothing");
        write(&mut file, "two\n");
        flush(&mut file);
        fs::write(&path, "").unwrap();
        assert!(file.is_replaced());
        file.reopen().unwrap();
        assert!(!file.is_replaced());
        write(&mut file, "three\n");
        flush(&mut file);
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
        flush(&mut file);
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
        let mut lost = 0;
        for _ in 0..10_000 {
            lost += write(&mut file, &line);
            assert!(file.buffer.len() < limits::ACCESS_LOG_WRITE_BYTES);
        }
        lost += flush(&mut file);
        assert_eq!(lost, 10_000);
        let (error, lines) = file.take_failure().unwrap();
        assert_eq!((error.kind(), lines), (io::ErrorKind::StorageFull, 10_000));
        assert!(!file.has_failed());
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next_one() {
        let (path, mut file) = log_file("torn");
        write(&mut file, "half a li");
        flush(&mut file);
        write(&mut file, "whole\n");
        flush(&mut file);
        write(&mut file, "next\n");
        flush(&mut file);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "half a li\nwhole\nnext\n"
        );
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_pipe_needs_no_reader_and_makes_nobody_wait_for_one() {
        let path = std::env::temp_dir().join(format!("palantir-pipe-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        let settings = snapshot::AccessLog {
            path: path.clone(),
            format: AccessLogFormat::Json,
        };
        let mut file = LogFile::open(&settings).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        let lose = |file: &mut LogFile| {
            let mut lost = 0;
            while lost == 0 {
                lost += write(file, &line);
            }
        };
        lose(&mut file);
        let (error, lines) = file.take_failure().unwrap();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(lines > 0 && file.clogged, "it is not waited for once more");
        let mut reader = File::open(&path).unwrap();
        let mut bytes = [0; 4096];
        let mut read = |file: &mut LogFile| {
            write(file, "end\n");
            while flush(file) > 0 {
                std::io::Read::read(&mut reader, &mut bytes).unwrap();
                write(file, "end\n");
            }
        };
        read(&mut file);
        assert!(!file.clogged);
        fs::remove_file(path).unwrap();
    }
}
