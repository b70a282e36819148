//! The filters that change a body between its source and its sink. There is no filter in production yet: a filter is a
//! variant of [`Filter`] with a file of its own.

/// A filter.
pub enum Filter {
    /// Writes letters in upper case, each digit twice, and a full stop behind the end: the body and its length change.
    #[cfg(test)]
    Louder,
}

/// The filters of a body, and the bytes that they have produced and the sink has not taken.
#[derive(Default)]
pub struct Filters {
    /// The filters in the order in which the body passes through them.
    chain: Vec<Filter>,
    /// The bytes that the last filter has produced. The sink has taken the first `taken` of them.
    given: Vec<u8>,
    taken: usize,
}

impl Filters {
    /// Filters in the order in which the body passes through them. `None`: there are none, and the body is not changed.
    pub fn new(chain: Vec<Filter>) -> Option<Box<Filters>> {
        let filters = Filters {
            chain,
            ..Filters::default()
        };
        (!filters.chain.is_empty()).then(|| Box::new(filters))
    }

    /// The filters of a response's body; `None`: there are none.
    #[inline]
    pub fn of_response() -> Option<Box<Filters>> {
        Filters::new(chain_of_responses())
    }

    /// Lets the next bytes of the body pass through the filters.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.pass_through(bytes, 0);
    }

    /// Notes that the body has ended: each filter produces the rest of its output.
    pub fn end(&mut self) {
        for at in 0..self.chain.len() {
            let mut last = Vec::new();
            self.chain[at].end(&mut last);
            self.pass_through(&last, at + 1);
        }
    }

    /// Lets bytes pass through the filters from the one of this index on.
    fn pass_through(&mut self, bytes: &[u8], from: usize) {
        self.forget_taken();
        let [filters @ .., last] = &mut self.chain[from..] else {
            return self.given.extend_from_slice(bytes);
        };
        let mut bytes = std::borrow::Cow::Borrowed(bytes);
        for filter in filters {
            let mut passed = Vec::new();
            filter.pass(&bytes, &mut passed);
            bytes = passed.into();
        }
        last.pass(&bytes, &mut self.given);
    }

    /// The bytes that the sink has not taken.
    pub fn given(&self) -> &[u8] {
        &self.given[self.taken..]
    }

    /// Notes that the sink has taken so many of the given bytes.
    pub fn note_taken(&mut self, count: usize) {
        debug_assert!(count <= self.given().len());
        self.taken += count;
    }

    fn forget_taken(&mut self) {
        if self.taken == self.given.len() {
            self.given.clear();
            self.taken = 0;
        }
    }
}

/// The filters of all responses, in their order.
#[cfg(not(test))]
fn chain_of_responses() -> Vec<Filter> {
    Vec::new()
}

/// The filters of all responses that the calling thread sends to clients, as a test has set them.
#[cfg(test)]
fn chain_of_responses() -> Vec<Filter> {
    let is_louder = tests::IS_LOUDER.get();
    is_louder.then_some(Filter::Louder).into_iter().collect()
}

impl Filter {
    /// Takes the next bytes of a body, and appends the changed bytes to `out`.
    #[cfg_attr(
        not(test),
        expect(unused_variables, clippy::ptr_arg, reason = "there is no filter yet")
    )]
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match *self {
            #[cfg(test)]
            Filter::Louder => {
                for byte in bytes {
                    out.push(byte.to_ascii_uppercase());
                    out.extend(byte.is_ascii_digit().then_some(byte));
                }
            }
        }
    }

    /// Appends the rest of the filter's output to `out` when the body has ended.
    #[cfg_attr(
        not(test),
        expect(unused_variables, clippy::ptr_arg, reason = "there is no filter yet")
    )]
    fn end(&mut self, out: &mut Vec<u8>) {
        match *self {
            #[cfg(test)]
            Filter::Louder => out.push(b'.'),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::cell::Cell;

    thread_local! {
        /// Whether the responses of the calling thread go through [`super::Filter::Louder`].
        pub static IS_LOUDER: Cell<bool> = const { Cell::new(false) };
    }
}
