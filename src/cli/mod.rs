//! The command line: the commands that only look at the configuration, and those that speak to a running palantir.

mod admin;
mod carry_out;
mod check;
mod explain;
mod explain_now;
mod listener;
mod output;
mod purge;
mod remote;
mod report;
mod report_cache;
mod run;
mod schema;
mod top;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use check::check;
use explain::explain;
use remote::{Remote, remote};
use schema::schema;

pub use carry_out::{carry_out, start_log};

use crate::config;

/// A reverse proxy for HTTP APIs.
#[derive(Debug, Parser)]
#[command(name = "palantir", version, after_help = AFTER_HELP)]
struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "PATH", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "Without --config the file is the one that $PALANTIR_CONFIG or $REVERSE_PROXY_CONFIG_PATH names, \
else config.toml, else reverse-proxy.toml. $RUST_LOG sets what is logged (default: info). \
$PALANTIR_ENGINE asks for one of the engines: io_uring or epoll.\n\n\
The commands that speak to a running palantir find it by the file's [admin] section, or by $PALANTIR_ADMIN and $PALANTIR_TOKEN; \
$PALANTIR_ADMIN must begin with https:// if the API speaks TLS; $PALANTIR_CA, $PALANTIR_CERT and $PALANTIR_KEY name files, and $PALANTIR_NAME the host of the API's certificate. \
These commands exit with 0 if palantir did as asked, 1 if it refused, 3 if it cannot be reached.";

/// The command that is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the proxy (the default)
    Run,
    /// Check the whole configuration and list every mistake
    Check,
    /// Show which route, pool and limits a request would meet, and why
    Explain {
        /// Method of the request, for example GET
        method: String,
        /// URL of the request, for example http://api.example.com/path
        url: String,
        /// Configured address of the listener that the request reaches; by default scheme and port of the URL choose it
        #[arg(long, value_name = "ADDR")]
        listener: Option<String>,
        /// Field of the request, such as 'Accept-Encoding: gzip', for what the cache of a running palantir would do now
        #[arg(long, value_name = "FIELD")]
        header: Vec<String>,
    },
    /// Print the JSON Schema of the configuration file, by which editors complete it
    Schema {
        /// Print the reference of the configuration file instead, in Markdown
        #[arg(long)]
        reference: bool,
    },
    /// Start test servers alone: backends that answer and say which one they are
    TestServer {
        /// Addresses to listen on, such as 127.0.0.1:9001
        #[arg(long, value_name = "ADDR", required = true, num_args = 1..)]
        listen: Vec<SocketAddr>,
    },
    /// A command for a running process, sent to its management API.
    #[command(flatten)]
    Remote(Remote),
}

/// Reads the arguments of this process: the command, and the configuration's path. Ends the process with a message if
/// they are not understood, or if help or the version was asked for.
pub fn parse() -> (Command, PathBuf) {
    let arguments = Arguments::parse();
    let path = config::find(arguments.config, |name| std::env::var_os(name));
    (arguments.command.unwrap_or(Command::Run), path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::purge::{PurgeOptions, PurgedResponses};
    use super::*;

    fn command(line: &str) -> Option<Command> {
        let arguments = Arguments::try_parse_from(line.split(' ')).ok()?;
        Some(arguments.command.unwrap_or(Command::Run))
    }

    #[test]
    fn commands_as_written() {
        let rows = [
            ("palantir", Some(Command::Run)),
            ("palantir run", Some(Command::Run)),
            ("palantir check --config a.toml", Some(Command::Check)),
            ("palantir --config a.toml check", Some(Command::Check)),
            (
                "palantir explain GET http://a/b",
                Some(Command::Explain {
                    method: "GET".to_owned(),
                    url: "http://a/b".to_owned(),
                    listener: None,
                    header: Vec::new(),
                }),
            ),
            (
                "palantir explain GET http://a/b --listener unix:/c",
                Some(Command::Explain {
                    method: "GET".to_owned(),
                    url: "http://a/b".to_owned(),
                    listener: Some("unix:/c".to_owned()),
                    header: Vec::new(),
                }),
            ),
            (
                "palantir test-server --listen 127.0.0.1:1 [::1]:2",
                Some(Command::TestServer {
                    listen: vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()],
                }),
            ),
            (
                "palantir reload --confirm 60s",
                Some(Command::Remote(Remote::Reload {
                    confirm: Some(Duration::from_secs(60)),
                    max_failed_percent: None,
                    allow_empty: false,
                })),
            ),
            (
                "palantir rollback 3",
                Some(Command::Remote(Remote::Rollback { revision: 3 })),
            ),
            (
                "palantir schema",
                Some(Command::Schema { reference: false }),
            ),
            (
                "palantir schema --reference",
                Some(Command::Schema { reference: true }),
            ),
            (
                "palantir purge --tag a --soft",
                Some(Command::Remote(Remote::Purge(PurgeOptions {
                    responses: PurgedResponses {
                        tag: Some("a".to_owned()),
                        ..PurgedResponses::default()
                    },
                    soft: true,
                    zone: None,
                }))),
            ),
            (
                "palantir purge --all --zone z",
                Some(Command::Remote(Remote::Purge(PurgeOptions {
                    responses: PurgedResponses {
                        all: true,
                        ..PurgedResponses::default()
                    },
                    soft: false,
                    zone: Some("z".to_owned()),
                }))),
            ),
            ("palantir purge", None),
            ("palantir purge --all --tag a", None),
            ("palantir purge --tag a --zone z", None),
            ("palantir rollback", None),
            ("palantir reload --max-failed-percent 5", None),
            ("palantir test-server", None),
            ("palantir explain GET", None),
            ("palantir serve", None),
        ];
        for (line, expected) in rows {
            assert_eq!(command(line), expected, "{line}");
        }
    }
}
