//! The content of the configuration file that a signal has asked for. A reload that waits, or is tried again, loads the
//! content that the file had at the signal: nobody has asked yet for a later content.

use crate::control::config_store::{Problem, ProblemKind};

/// The file that the last signal asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestedFile {
    /// The number of the signal, which tells it from earlier ones.
    number: u64,
    /// The digest of the file at that time. `None`: nobody has read the file since.
    only: Option<String>,
    /// The digest of a file that a rollback has taken back since.
    not: Option<String>,
}

impl RequestedFile {
    /// Notes that a signal asks for the file as it is now.
    pub fn request(&mut self) {
        *self = RequestedFile {
            number: self.number + 1,
            ..RequestedFile::default()
        };
    }

    /// Whether nobody has read the file since.
    pub fn is_unseen(&self) -> bool {
        self.only.is_none()
    }

    /// Whether no signal has asked since `earlier` was what the last one asked for.
    pub fn is_same_request(&self, earlier: &RequestedFile) -> bool {
        self.number == earlier.number
    }

    /// Notes that `digest` was found for `asked`. The digest counts if it is the first one, and nothing else was asked
    /// for meanwhile.
    pub fn note(&mut self, asked: &RequestedFile, digest: String) {
        if self.is_same_request(asked) {
            self.only.get_or_insert(digest);
        }
    }

    /// Notes that a rollback takes back the file with this digest, which was in force.
    pub fn take_back(&mut self, digest: String) {
        self.not = Some(digest);
    }

    /// Checks that a file with this digest is the one that was asked for. Errors: the reason why it is not.
    pub fn check(&self, digest: &str) -> Result<(), Problem> {
        let is = |known: &Option<String>| known.as_deref() == Some(digest);
        let why = if is(&self.not) {
            "the configuration file was taken back by a rollback since SIGHUP asked for it, and is not loaded"
        } else if self.only.is_some() && !is(&self.only) {
            "the configuration file has changed since SIGHUP asked for it, and is not loaded"
        } else {
            return Ok(());
        };
        let text = format!("{why}; another SIGHUP loads the file as it is then");
        Err(Problem::new(ProblemKind::Changed, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_there_is_loaded() {
        let mut asked = RequestedFile::default();
        asked.request();
        assert!(asked.is_unseen());
        assert_eq!(asked.check("a"), Ok(()), "nobody has looked");
        let earlier = asked.clone();
        asked.request();
        asked.note(&earlier, "a".to_owned());
        assert!(asked.is_unseen(), "the look was for an earlier signal");
        let now = asked.clone();
        asked.note(&now, "b".to_owned());
        asked.note(&now, "c".to_owned());
        assert!(!asked.is_unseen());
        // Columns: the digest, and whether it is loaded before and after a rollback takes "b" back.
        for (digest, before, after) in [("a", false, false), ("b", true, false)] {
            assert_eq!(asked.check(digest).is_ok(), before, "{digest}");
            let mut taken = asked.clone();
            taken.take_back("b".to_owned());
            assert_eq!(taken.check(digest).is_ok(), after, "{digest}");
        }
        asked.take_back("b".to_owned());
        asked.request();
        assert_eq!(asked.check("b"), Ok(()), "it is asked for anew");
    }
}
