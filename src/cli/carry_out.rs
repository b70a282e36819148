//! The commands, each carried out to its exit code.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{self, ExitCode};
use std::thread::JoinHandle;

use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing::warn;
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
    let wish = std::env::var("RUST_LOG").unwrap_or_default();
    let chosen = chosen_lines(&wish);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| log::LogLines)
        .log_internal_errors(false) // Internal errors would be printed to standard error.
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(chosen.clone().unwrap_or_else(|_| usual_lines()))
        .init();
    if let Err(why) = chosen {
        warn!("RUST_LOG={wish:?} cannot be read ({why}): the log has the usual lines");
    }
}

fn usual_lines() -> Targets {
    Targets::new().with_default(LevelFilter::INFO)
}

/// The lines that a value of `$RUST_LOG` chooses: a level, or levels of modules, such as `warn,palantir::health=debug`.
/// An empty part of a list is ignored. Errors: the reason why the value cannot be read.
fn chosen_lines(wish: &str) -> Result<Targets, String> {
    let parts = wish.split(',').map(str::trim);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Ok(usual_lines());
    }
    if parts.iter().any(|part| part.contains(char::is_whitespace)) {
        return Err("a module has no blanks in its name".to_owned());
    }
    let chosen = parts.join(",").parse::<Targets>();
    chosen.map_err(|error| error.to_string())
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
            header,
        } => explain(path, &method, &url, listener.as_deref(), &header),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_names_levels_and_modules() {
        let rows = [
            ("", Some("info")),
            (" , ", Some("info")),
            ("info,", Some("info")),
            ("warn, palantir=info", Some("palantir=info,warn")),
            (
                "off,palantir::health=DEBUG",
                Some("palantir::health=debug,off"),
            ),
            ("palantir=loud", None),
            ("palantir = info", None),
        ];
        for (wish, expected) in rows {
            let chosen = chosen_lines(wish).ok().map(|chosen| chosen.to_string());
            assert_eq!(chosen.as_deref(), expected, "{wish:?}");
        }
    }
}
