//! Names of fields that one side alone may give, and what an operator changes in a head.
//!
//! Gateways that turn names into variables (CGI, WSGI, Rack, PHP) read `X-Role`, `x-role` and `X_Role` as one field,
//! and some of them `X.Role` too (lighttpd makes `_` of whatever is no letter and no digit). So names that decide
//! something are compared as the least exact of them reads them.

/// Whether two names are one to a reader that knows neither case nor the difference between signs.
#[inline]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| plain(*a) == plain(*b))
}

#[inline]
fn plain(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

/// Names of fields, compared as [`same`] does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSet {
    names: Vec<String>,
    /// One bit for each length that a name has, the last one for all that are longer: nearly every other name is told
    /// apart by its length.
    lengths: u64,
}

impl NameSet {
    /// No names.
    pub const fn none() -> NameSet {
        NameSet {
            names: Vec::new(),
            lengths: 0,
        }
    }

    /// Whether the set has no name.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lengths == 0
    }

    /// Whether the set has this name, in any case.
    #[inline]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0 && self.is_listed(name)
    }

    fn is_listed(&self, name: &[u8]) -> bool {
        let mut names = self.names.iter();
        names.any(|known| same(known.as_bytes(), name))
    }
}

#[inline]
fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl FromIterator<String> for NameSet {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> NameSet {
        let mut set = NameSet::none();
        for name in names {
            if !set.contains(name.as_bytes()) {
                set.lengths |= length_bit(name.len());
                set.names.push(name);
            }
        }
        debug_assert_eq!(set.names.is_empty(), set.lengths == 0);
        set
    }
}

/// An operator's changes to the heads of one direction: fields are taken out, and fields are put in at the end, in
/// the place of every field of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// In lower case; [`super::fields::may_be_edited`] holds of each, and of those of `set`.
    pub remove: Vec<String>,
    /// The fields that are written, as names and values. Received fields of these names do not pass.
    pub set: Vec<(String, String)>,
    /// Of both.
    names: NameSet,
}

/// Nothing is changed.
pub static NO_EDITS: FieldEdits = FieldEdits {
    remove: Vec::new(),
    set: Vec::new(),
    names: NameSet::none(),
};

impl FieldEdits {
    /// Edits that remove the fields of some names and set others.
    pub fn new(remove: Vec<String>, set: Vec<(String, String)>) -> FieldEdits {
        let set_names = set.iter().map(|(name, _)| name);
        FieldEdits {
            names: remove.iter().chain(set_names).cloned().collect(),
            remove,
            set,
        }
    }

    /// The names on which the operator has the last word.
    #[inline]
    pub fn names(&self) -> &NameSet {
        &self.names
    }
}

/// The facts that palantir has verified of a client, and the names of the fields that carry them.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Names that no client may give. Those of all listeners: whichever a client comes by, the backends are the same.
    /// And those of its own listener as it was when the client connected.
    pub names: [&'a NameSet; 2],
    /// The fields that tell a backend who the client is.
    pub fields: &'a [(String, String)],
}

impl Identity<'static> {
    /// No listener asks its clients who they are.
    pub const UNKNOWN: Identity<'static> = {
        static NONE: NameSet = NameSet::none();
        Identity {
            names: [&NONE; 2],
            fields: &[],
        }
    };
}

impl Identity<'_> {
    /// Whether it is for us alone to give a field of this name.
    #[inline]
    pub fn is_ours(&self, name: &[u8]) -> bool {
        self.names.iter().any(|names| names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_to_a_gateway_or_they_are_not() {
        let rows = [
            ("x-client-subject", "X_Client_Subject", true),
            ("x-client-subject", "X-CLIENT_SUBJECT", true),
            ("x_role", "x-role", true),
            ("x-role", "x-role2", false),
            ("x-role", "x-rolf", false),
            ("x-role", "X.Role", true),
            ("x-role", "x!role", true),
            ("x-role", "xxrole", false),
            ("", "", true),
        ];
        for (one, other, expected) in rows {
            assert_eq!(
                same(one.as_bytes(), other.as_bytes()),
                expected,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn sets_table() {
        let long = "l".repeat(100);
        let set: NameSet = ["x-role", "X_Role", "x-client_subject", &long]
            .map(str::to_owned)
            .into_iter()
            .collect();
        assert_eq!(set.names.len(), 3, "one of each");
        for name in ["X-Role", "x_role", "x-client-subject", &long] {
            assert!(set.contains(name.as_bytes()), "{name}");
        }
        for name in ["", "x-rolf", "x-roles", &"m".repeat(100), &"l".repeat(99)] {
            assert!(!set.contains(name.as_bytes()), "{name}");
        }
        assert!(NameSet::none().is_empty() && !NameSet::none().contains(b""));
    }

    #[test]
    fn the_last_word_is_on_what_is_set_or_removed() {
        let set = vec![("x-role".to_owned(), "a".to_owned())];
        let edits = FieldEdits::new(vec!["x-debug".to_owned()], set);
        assert!(edits.names().contains(b"X_Role") && edits.names().contains(b"X-Debug"));
        assert!(!edits.names().contains(b"x-other"));
    }
}
