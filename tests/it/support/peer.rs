//! Programs of others, in Python, that the proxy stands between: `tests/peers/`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Once;

use super::proxy::end_with_this_thread;

/// A running backend; ended when dropped.
pub struct Peer {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a script and waits until it says that it is ready.
    #[track_caller]
    pub fn start(script: &str, arguments: &[&str]) -> Peer {
        let mut command = command(script, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        end_with_this_thread(&mut command);
        let mut child = command.spawn().expect("start python");
        let mut peer = Peer {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        assert_eq!(peer.line(), "ready", "{script}");
        peer
    }

    /// Tells it something and gives what it says to that.
    #[track_caller]
    pub fn tell(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").expect("tell a peer");
        self.line()
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("hear a peer");
        line.trim_end().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a script to its end, which must be a good one.
#[track_caller]
pub fn run(script: &str, arguments: &[&str]) {
    let done = command(script, arguments)
        .stdin(Stdio::null())
        .output()
        .expect("start python");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{script} {arguments:?}: {said}");
}

/// A script of `tests/peers`, in the environment that has what it needs.
#[track_caller]
fn command(script: &str, arguments: &[&str]) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python(root));
    command.arg(root.join("tests/peers").join(script));
    command.args(arguments);
    command
}

#[track_caller]
fn python(root: &Path) -> PathBuf {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let install = root.join("tests/peers/install.sh");
        let done = Command::new(install).status().expect("install the peers");
        assert!(done.success(), "tests/peers/install.sh failed");
    });
    root.join("target/peers/bin/python")
}
