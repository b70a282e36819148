//! Credentials that the API shows as `***` and a caller sends back: each `***` stands for the value in force.

use toml::{Table, Value};

use super::edit::Problem;
use super::written::{WrittenBackend, WrittenPool};
use crate::config::{MASK, is_credential};

/// Replaces the masks in `pool` by the credentials of `before`. The result says whether a mask was replaced. Errors: a
/// mask that stands for no value.
pub fn unmask(pool: &mut WrittenPool, before: Option<&WrittenPool>) -> Result<bool, Problem> {
    let pools_check = before.and_then(|before| check_of(&before.settings));
    let mut is_changed = unmask_check(&mut pool.settings, pools_check)
        .map_err(|name| refusal(&format!("health_check.headers.{name}")))?;
    for (index, backend) in pool.backends.iter_mut().enumerate() {
        let known = before.and_then(|before| find(before, backend));
        let own_check = known.and_then(|known| check_of(&known.settings));
        is_changed |= unmask_check(&mut backend.settings, own_check.or(pools_check))
            .map_err(|name| refusal(&format!("backends[{index}].health_check.headers.{name}")))?;
    }
    Ok(is_changed)
}

fn refusal(field: &str) -> Problem {
    let right = format!("{MASK} stands for the value in force, and there is none");
    Problem::field(field, right)
}

fn find<'p>(pool: &'p WrittenPool, backend: &WrittenBackend) -> Option<&'p WrittenBackend> {
    let position = backend.place();
    pool.backends.iter().find(|known| known.place() == position)
}

fn check_of(settings: &Table) -> Option<&Table> {
    settings.get("health_check").and_then(Value::as_table)
}

/// Replaces the masks in one health check. Errors: the name of a field whose mask stands for no value.
fn unmask_check(settings: &mut Table, before: Option<&Table>) -> Result<bool, String> {
    let check = settings.get_mut("health_check");
    let headers = check.and_then(|check| check.get_mut("headers")?.as_table_mut());
    let known = before.and_then(|check| check.get("headers")?.as_table());
    let mut is_changed = false;
    for (name, value) in headers.into_iter().flatten() {
        if value.as_str() != Some(MASK) || !is_credential(name) {
            continue;
        }
        let mut fields = known.into_iter().flatten();
        let Some((_, secret)) = fields.find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Err(name.clone());
        };
        is_changed |= value != secret;
        value.clone_from(secret);
    }
    Ok(is_changed)
}
