//! The commands that change a running palantir, or ask it what a change would do.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::admin::{AdminClient, AdminError};
use super::purge::{PurgeOptions, purge};
use super::{output, top};
use crate::base::{limits, quantity};

/// A command for a running palantir.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Remote {
    /// Watch backends, traffic and cores of the running palantir
    Top,
    /// Let the running palantir read its configuration again
    Reload {
        /// Go back by itself unless `palantir confirm` comes within this time, such as 90s or 5m
        #[arg(long, value_name = "TIME", value_parser = time)]
        confirm: Option<Duration>,
        /// Go back at once if more than this share of the requests fail meanwhile; a request that no route is for (404)
        /// is refused and has not failed
        #[arg(long, value_name = "PERCENT", requires = "confirm", value_parser = clap::value_parser!(u8).range(0..=100))]
        max_failed_percent: Option<u8>,
        /// Take over the file even if it has no route or no listener
        #[arg(long)]
        allow_empty: bool,
    },
    /// Keep the configuration that was reloaded with --confirm
    Confirm,
    /// Show what a reload would change
    Diff,
    /// Make an earlier revision of the configuration the one in force
    Rollback {
        /// Number of the revision
        revision: u64,
    },
    /// End cached responses before their time
    Purge(PurgeOptions),
    /// Hand over to a new process of the binary, without a lost connection
    Upgrade {
        /// Upgrade even if the new process would load a configuration file that a rollback has taken back
        #[arg(long)]
        force: bool,
        /// Upgrade even if the file has no route or no listener
        #[arg(long)]
        allow_empty: bool,
    },
}

/// Reads a time in the form that the configuration knows, or a number of seconds.
fn time(text: &str) -> Result<Duration, String> {
    quantity::time_within(text, &(limits::SHORTEST_TIMEOUT..=limits::LONGEST_TIMEOUT))
}

/// Asks the palantir that the configuration names, and prints what it says. Ends with 0 if it was done, 1 if it was
/// refused (every reason on stderr), 3 if palantir cannot be reached.
pub fn remote(config: &Path, command: &Remote) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(config, command)),
        Err(error) => Err(AdminError::Unreachable(format!("no runtime: {error}"))),
    };
    match outcome {
        Ok(text) => output::print(&text),
        Err(trouble) => {
            for line in trouble.to_string().lines() {
                output::complain(&format!("palantir: {line}"));
            }
            trouble.exit_code()
        }
    }
}

/// Carries the command out. Returns the text that is printed then.
async fn carry_out(config: &Path, command: &Remote) -> Result<String, AdminError> {
    let client = AdminClient::find(config)?;
    match command {
        Remote::Top => top::watch(client).await.map(|()| String::new()),
        Remote::Reload {
            confirm,
            max_failed_percent,
            allow_empty,
        } => {
            let body = trial(*confirm, *max_failed_percent);
            let path = if *allow_empty {
                "/reload?allow_empty=true"
            } else {
                "/reload"
            };
            let answer = client.post(path, &body).await?;
            let mut text = accepted(&answer);
            if let (Some(time), true) = (confirm, is_changed(&answer)) {
                let time = quantity::show_time(*time);
                text += &format!("on trial for {time}: `palantir confirm` keeps it\n");
            }
            Ok(text)
        }
        Remote::Confirm => Ok(accepted(&client.post("/reload/confirm", &json!({})).await?)),
        Remote::Diff => Ok(difference(&client.get("/config/diff").await?)),
        Remote::Purge(options) => purge(&client, options).await,
        Remote::Rollback { revision } => {
            let body = json!({ "revision": revision });
            Ok(accepted(&client.post("/config/rollback", &body).await?))
        }
        Remote::Upgrade { force, allow_empty } => {
            // Only the words that are needed, since the running palantir may be of an earlier version, which knows
            // fewer.
            let terms = [(force, "force=true"), (allow_empty, "allow_empty=true")];
            let terms = terms.into_iter().filter(|(is_meant, _)| **is_meant);
            let terms: Vec<&str> = terms.map(|(_, term)| term).collect();
            let path = if terms.is_empty() {
                "/upgrade".to_owned()
            } else {
                format!("/upgrade?{}", terms.join("&"))
            };
            Ok(accepted(&client.post(&path, &json!({})).await?))
        }
    }
}

fn trial(confirm: Option<Duration>, max_failed_percent: Option<u8>) -> Value {
    let mut body = json!({});
    if let Some(time) = confirm {
        // A whole number where it is one, because an earlier version may be asked, which reads no text.
        body["confirm_secs"] = match time.subsec_nanos() {
            0 => time.as_secs().into(),
            _ => time.as_secs_f64().into(),
        };
    }
    if let Some(percent) = max_failed_percent {
        body["max_failed_percent"] = percent.into();
    }
    body
}

/// The revision in force, and what there is to know besides.
fn accepted(answer: &Value) -> String {
    let revision = answer.get("revision").and_then(Value::as_u64);
    let mut text = match (revision, is_changed(answer)) {
        (Some(revision), true) => format!("now revision {revision}\n"),
        (Some(revision), false) => format!("revision {revision} stays\n"),
        (None, _) => "done\n".to_owned(),
    };
    for note in texts(answer, "notes") {
        text += &format!("{note}\n");
    }
    text
}

fn is_changed(answer: &Value) -> bool {
    answer.get("changed").and_then(Value::as_bool) == Some(true)
}

fn difference(answer: &Value) -> String {
    let lines: Vec<&str> = texts(answer, "lines").collect();
    if lines.is_empty() {
        "the file says what is in force\n".to_owned()
    } else {
        lines.join("\n") + "\n"
    }
}

fn texts<'a>(answer: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let list = answer.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_lines() {
        let rows = [
            (
                json!({"revision": 7, "changed": true, "notes": ["a", "b"]}),
                "now revision 7\na\nb\n",
            ),
            (
                json!({"revision": 7, "changed": false, "notes": []}),
                "revision 7 stays\n",
            ),
            (json!({}), "done\n"),
        ];
        for (answer, expected) in rows {
            assert_eq!(accepted(&answer), expected);
        }
        assert_eq!(difference(&json!({"lines": ["+ a", "- b"]})), "+ a\n- b\n");
        assert_eq!(
            difference(&json!({"lines": []})),
            "the file says what is in force\n"
        );
    }

    #[test]
    fn a_trial_says_only_what_was_said() {
        assert_eq!(trial(None, None), json!({}));
        let whole = json!({"confirm_secs": 60, "max_failed_percent": 5});
        assert_eq!(trial(Some(Duration::from_secs(60)), Some(5)), whole);
        let part = json!({"confirm_secs": 0.5});
        assert_eq!(trial(Some(Duration::from_millis(500)), None), part);
    }

    #[test]
    fn times_as_in_the_configuration() {
        for text in ["60", "60s", "1m", "60000ms"] {
            assert_eq!(time(text), Ok(Duration::from_secs(60)), "{text}");
        }
        for text in ["0", "-1", "", "s", "1.5s", "2d"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
