//! What a whole file comes to: its mistakes word for word, or its snapshot.

mod mistakes;
mod never_panics;
mod snapshots;

use super::*;

fn parsed(text: &str) -> Result<Config, Mistakes> {
    parse(Path::new("c.toml"), text.to_owned())
}
