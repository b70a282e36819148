//! The commands, each carried out to its exit code.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{self, ExitCode};
use std::thread::JoinHandle;

use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Command, check, explain, remote, run, schema};
use crate::base::log;
use crate::config::{self, Machine};
use crate::net;
use crate::test_server;

/// Starts the log, whose lines `$RUST_LOG` chooses. A process that cannot start threads reports that when it starts the
/// workers.
pub fn start_log() {
    let _ = log::start();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| log::LogLines)
        .log_internal_errors(false) // Internal errors would be printed to standard error.
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(chosen_lines())
        .init();
}

/// The lines that `$RUST_LOG` chooses: a level, or levels of modules, such as `warn,palantir::health=debug`. A text
/// that cannot be read chooses the same as no text.
fn chosen_lines() -> Targets {
    let chosen = std::env::var("RUST_LOG").unwrap_or_default();
    let chosen = chosen.parse().ok().filter(|_| !chosen.is_empty());
    chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

/// Carries out a command. `path` is the path of the configuration file.
pub fn carry_out(command: Command, path: &Path) -> ExitCode {
    match command {
        Command::Check => check(path),
        Command::Schema { reference } => schema(reference),
        Command::Explain {
            method,
            url,
            listener,
        } => explain(path, &method, &url, listener.as_deref()),
        Command::TestServer { listen } => match start_test_servers(&listen) {
            Ok(thread) => end_of(thread),
            Err(error) => refuse(&error.to_string()),
        },
        Command::Remote(wish) => remote(path, &wish),
        Command::Run => match run::run_or_tell(path) {
            // Runtimes with operations under way must not be dropped.
            Ok(code) => {
                log::flush();
                process::exit(code.into())
            }
            Err(reason) => refuse(&reason),
        },
    }
}

fn refuse(reason: &str) -> ExitCode {
    log::say(reason);
    ExitCode::FAILURE
}

fn end_of(thread: JoinHandle<()>) -> ExitCode {
    match thread.join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn start_test_servers(addrs: &[SocketAddr]) -> io::Result<JoinHandle<()>> {
    let listeners: io::Result<Vec<_>> = addrs.iter().copied().map(test_server::listen).collect();
    net::raise_descriptor_limit();
    let most = config::of_test_servers(&Machine::of_this_process());
    test_server::start(listeners?, watch::channel(true).1, most)
}
