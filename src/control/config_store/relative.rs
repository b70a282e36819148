//! The mistakes that the check of a whole document finds, as they look to somebody who edited one resource of it.

use super::edit::{Problem, ProblemKind};
use super::written::PoolPosition;
use crate::config::Mistakes;

/// The resource that was edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The pool at this place.
    Pool(PoolPosition),
    /// The backend of this index.
    Backend(PoolPosition, usize),
}

impl Subject {
    /// The mistakes of the edited document, each with the way to its field from the resource.
    pub fn problem(&self, mistakes: &Mistakes) -> Problem {
        let notes = mistakes.notes.iter();
        let mistakes = notes.map(|note| (self.relative(&note.key), note.text.clone()));
        Problem {
            kind: ProblemKind::Invalid,
            mistakes: mistakes.collect(),
        }
    }

    /// The problem with fields that are named from the resource instead of from the resource's pool.
    pub fn own(&self, mut problem: Problem) -> Problem {
        if let Subject::Backend(_, index) = self {
            let before = format!("backends[{index}].");
            for (field, _) in &mut problem.mistakes {
                *field = field.trim_start_matches(&before).to_owned();
            }
        }
        problem
    }

    /// `pools[3].backends[1].weight` is `weight` for that backend, `backends[1].weight` for its pool, and itself for
    /// all others.
    fn relative(&self, key: &str) -> String {
        let below = key.strip_prefix(&self.key());
        match (self, below) {
            (_, None) => key.to_owned(),
            // An address alone, without a table around it.
            (Subject::Backend(..), Some("")) => "addr".to_owned(),
            (Subject::Backend(..), Some(below)) => below.trim_start_matches('.').to_owned(),
            (Subject::Pool(position), Some(below)) => {
                let below = below.trim_start_matches('.');
                match below.strip_prefix(position.backends_key()) {
                    Some(rest) => format!("backends{rest}"),
                    None => below.to_owned(),
                }
            }
        }
    }

    fn key(&self) -> String {
        match self {
            Subject::Pool(position) => position.key(),
            Subject::Backend(position, index) => {
                format!("{}.{}[{index}]", position.key(), position.backends_key())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_from_the_resource() {
        let named = PoolPosition::Named(3);
        let own = PoolPosition::Own(0);
        let rows = [
            (
                Subject::Backend(named, 1),
                "pools[3].backends[1].weight",
                "weight",
            ),
            (
                Subject::Backend(named, 1),
                "pools[3].backends[1].health_check.path",
                "health_check.path",
            ),
            (Subject::Backend(named, 1), "pools[3].backends[1]", "addr"),
            (
                Subject::Backend(named, 1),
                "pools[3].backends[12]",
                "pools[3].backends[12]",
            ),
            (Subject::Backend(named, 1), "pools[3].name", "pools[3].name"),
            (
                Subject::Backend(own, 0),
                "routes[0].backend_addrs[0].drain",
                "drain",
            ),
            (
                Subject::Pool(named),
                "pools[3].balancing_algorithm",
                "balancing_algorithm",
            ),
            (
                Subject::Pool(named),
                "pools[3].backends[0].weight",
                "backends[0].weight",
            ),
            (Subject::Pool(named), "pools[3]", ""),
            (Subject::Pool(named), "pools[30].name", "pools[30].name"),
            (Subject::Pool(own), "routes[0].backend_addrs", "backends"),
            (
                Subject::Pool(own),
                "routes[0].outlier.eject_secs",
                "outlier.eject_secs",
            ),
        ];
        for (subject, key, expected) in rows {
            assert_eq!(subject.relative(key), expected, "{subject:?} {key}");
        }
    }
}
