//! The choice among several stored responses that match one request (RFC 9111 sections 4 and 4.1).

use std::cmp::Reverse;

/// A stored response that matches a request, as far as the choice among several of them goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchingResponse {
    /// Whether the response may answer without a validation.
    pub is_usable: bool,
    /// Whether the response says what it varies by.
    pub has_vary: bool,
    /// `Date` of the response, in seconds since 1970.
    pub date: i64,
}

/// The position of the response that answers. `matching`: the most recent one comes first, and is chosen where none may
/// answer without a validation.
pub fn chosen(matching: impl Iterator<Item = MatchingResponse>) -> usize {
    let usable = matching.enumerate().filter(|(_, one)| one.is_usable);
    // RFC 9111 sections 4 (MUST, c) and 4.1 (SHOULD): a response that says what it varies by comes before one that does
    // not, which may be meant for requests without preferences alone; then the most recent one by `Date`.
    let first = usable.min_by_key(|(_, one)| (!one.has_vary, Reverse(one.date)));
    first.map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_table() {
        let one = |is_usable, has_vary, date| MatchingResponse {
            is_usable,
            has_vary,
            date,
        };
        let rows = [
            (vec![one(true, false, 5)], 0),
            // RFC 9111 section 4 (MUST, c): the most recent one by Date, and of equal ones the first.
            (vec![one(true, true, 5), one(true, true, 6)], 1),
            (vec![one(true, true, 6), one(true, true, 5)], 0),
            (vec![one(true, false, 5), one(true, false, 5)], 0),
            // RFC 9111 section 4.1 (SHOULD): the one that says what it varies by.
            (vec![one(true, false, 9), one(true, true, 5)], 1),
            (
                vec![one(true, false, 9), one(true, true, 5), one(true, true, 6)],
                2,
            ),
            // A response that needs a validation keeps none back that needs none.
            (vec![one(false, true, 9), one(true, false, 5)], 1),
            (vec![one(false, false, 5), one(false, true, 9)], 0),
            (vec![], 0),
        ];
        for (matching, expected) in rows {
            let found = chosen(matching.iter().copied());
            assert_eq!(found, expected, "{matching:?}");
        }
    }
}
