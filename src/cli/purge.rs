//! `palantir purge`: ends cached responses of a running palantir before their time.

use clap::Args;
use serde_json::{Value, json};

use super::admin::{AdminClient, AdminError};

/// The responses that are purged, and how.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeOptions {
    /// The responses that are purged.
    #[command(flatten)]
    pub responses: PurgedResponses,
    /// Let the responses be stale rather than end them
    #[arg(long)]
    pub soft: bool,
    /// The only zone of the cache in which to purge
    #[arg(long, value_name = "ZONE", conflicts_with = "tag")]
    pub zone: Option<String>,
}

/// The responses that are purged: exactly one of these.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[group(required = true, multiple = false)]
pub struct PurgedResponses {
    /// URL of the responses, with all their variants
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Beginning of the URLs of the responses, with a whole host
    #[arg(long, value_name = "URL")]
    pub prefix: Option<String>,
    /// Tag of the responses, which backends name in Surrogate-Key or Cache-Tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Everything
    #[arg(long)]
    pub all: bool,
}

/// Purges, and says what is known of it.
pub(super) async fn purge(
    client: &AdminClient,
    options: &PurgeOptions,
) -> Result<String, AdminError> {
    let answer = client.post("/cache/purge", &order(options)).await?;
    Ok(outcome(&answer))
}

fn order(options: &PurgeOptions) -> Value {
    let mut order = json!({});
    let texts = [
        ("url", &options.responses.url),
        ("prefix", &options.responses.prefix),
        ("tag", &options.responses.tag),
        ("zone", &options.zone),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            order[name] = text.as_str().into();
        }
    }
    for (name, is_set) in [("all", options.responses.all), ("soft", options.soft)] {
        if is_set {
            order[name] = true.into();
        }
    }
    order
}

fn outcome(answer: &Value) -> String {
    let number = answer.get("number").and_then(Value::as_u64);
    let number = number.map_or("the purge".to_owned(), |number| format!("purge {number}"));
    match answer.get("entries").and_then(Value::as_u64) {
        None => format!("{number} is in force\n"),
        Some(1) => format!("{number} is in force: 1 entry\n"),
        Some(entries) => format!("{number} is in force: {entries} entries\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_says_only_what_was_said() {
        let options = PurgeOptions {
            responses: PurgedResponses {
                prefix: Some("http://a/".to_owned()),
                ..PurgedResponses::default()
            },
            soft: true,
            zone: Some("z".to_owned()),
        };
        let expected = json!({"prefix": "http://a/", "soft": true, "zone": "z"});
        assert_eq!(order(&options), expected);
        let all = PurgeOptions {
            responses: PurgedResponses {
                all: true,
                ..PurgedResponses::default()
            },
            ..PurgeOptions::default()
        };
        assert_eq!(order(&all), json!({"all": true}));
    }

    #[test]
    fn outcomes_as_lines() {
        let rows = [
            (
                json!({"number": 7, "entries": null}),
                "purge 7 is in force\n",
            ),
            (
                json!({"number": 7, "entries": 1}),
                "purge 7 is in force: 1 entry\n",
            ),
            (
                json!({"number": 7, "entries": 0}),
                "purge 7 is in force: 0 entries\n",
            ),
        ];
        for (answer, expected) in rows {
            assert_eq!(outcome(&answer), expected);
        }
    }
}
