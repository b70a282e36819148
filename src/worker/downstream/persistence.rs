//! Whether a client's connection goes on after an exchange (RFC 9112 section 9.3). One value holds everything that
//! decides; each change of the value is a transition with a name. All functions are plain: none waits or sends.

/// The act of the client's connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The connection may bring another request.
    Request,
    Close,
}

/// Everything that decides whether a client's connection goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persistence {
    /// Requests that began on the connection.
    requests: u32,
    /// Whether both sides want the connection to go on: at first as the request says, then as the head of the answer
    /// says (RFC 9112 section 9.3).
    is_wanted: bool,
    /// Whether a part of the running request's body is not received yet.
    is_body_pending: bool,
    /// Whether the end of the running answer is the end of the connection (RFC 9112 section 6.3, rule 8).
    ends_by_close: bool,
    /// Whether the connection ends in the middle of an answer (RFC 9112 section 8).
    is_cut: bool,
    /// Whether the connection ends because the client was too slow to send its request.
    is_slow: bool,
    /// Whether the client has ended its sending side and is still served.
    is_half_closed: bool,
    /// The millisecond, on the core's clock, at which the client had received its whole answer although its request was
    /// not complete; `None`: that did not happen.
    answered_at: Option<u64>,
}

/// The circumstances outside of the connection that decide whether it may go on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// The most requests that a connection may bring, including the running one.
    pub requests: u32,
    /// Whether the worker, or the listener of the connection, is ending.
    pub is_ending: bool,
    /// Whether all received bytes have been used, so that no next request has begun to arrive.
    pub is_drained: bool,
}

/// The transitions.
impl Persistence {
    /// Another request begins: the state of the last request is reset. A request whose head is not understood does not
    /// let the connection go on, because the beginning of the next request is not known.
    pub fn request_begins(&mut self) {
        debug_assert!(
            self.requests == 0 || self.next() == Next::Request,
            "no request follows one that was the last"
        );
        self.requests = self.requests.saturating_add(1);
        self.is_wanted = false;
        self.is_body_pending = false;
        self.ends_by_close = false;
    }

    /// The head of the request is received. `wants`: the client wants the connection to go on (RFC 9112 section 9.3).
    pub fn head_received(&mut self, wants: bool, has_body: bool) {
        debug_assert!(self.requests > 0, "a head belongs to a request");
        self.is_wanted = wants;
        self.is_body_pending = has_body;
    }

    /// More of the request's body is received. Only the end of the body lets the connection go on: the rest of a body
    /// would be taken for the next request (RFC 9112 section 9.3).
    pub fn body_received(&mut self, to_its_end: bool) {
        self.is_body_pending = !to_its_end;
    }

    /// The head of the answer tells the client whether the connection goes on. `by_close`: the end of the connection is
    /// the end of the answer.
    pub fn answer_begins(&mut self, goes_on: bool, by_close: bool) {
        // An answer that ends with the connection announces `Connection: close` (RFC 9112 section 9.6).
        debug_assert!(
            !(goes_on && by_close),
            "an answer that ends by closing is the last one"
        );
        self.is_wanted = goes_on;
        self.ends_by_close = by_close;
    }

    /// The connection takes no other request, whatever the running request asks for.
    pub fn ends(&mut self) {
        self.is_wanted = false;
    }

    /// The connection ends in the middle of an answer.
    pub fn is_cut_off(&mut self) {
        self.is_cut = true;
    }

    /// The request has failed. `is_slow`: the client was too slow to send the request.
    pub fn failed(&mut self, is_slow: bool) {
        self.is_slow = is_slow;
    }

    /// The client has ended its sending side, and is still served.
    pub fn half_closed(&mut self) {
        self.is_half_closed = true;
    }

    /// The client has its whole answer, at this millisecond of the core's clock, although its request is not complete.
    /// A connection of HTTP/1 cannot take another request then, because the rest of the body would be taken for one
    /// (RFC 9112 section 9.3).
    pub fn answered_early(&mut self, millis: u64) {
        self.answered_at = Some(millis);
    }
}

/// The questions.
impl Persistence {
    /// Whether the connection may go on after this answer: the client wants it to, the request is received to its end,
    /// and neither a bound nor the end of the listener forbids it.
    pub fn may_go_on(&self, around: Surroundings) -> bool {
        // A client that has ended its sending side sends no further request (RFC 9112 section 9.6).
        let has_said_all = self.is_half_closed && around.is_drained;
        self.is_wanted
            && !self.is_body_pending
            && !around.is_ending
            && !has_said_all
            && self.requests < around.requests
    }

    /// The act that follows the exchange which has just ended. A cut answer ends with the connection, because the
    /// client must see that the answer is incomplete (RFC 9112 section 8).
    pub fn next(&self) -> Next {
        if self.is_wanted && !self.is_cut {
            Next::Request
        } else {
            Next::Close
        }
    }

    /// Requests that began on the connection.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Whether a part of the running request's body is not received yet.
    pub fn is_body_pending(&self) -> bool {
        self.is_body_pending
    }

    /// Whether the end of the connection is the end of the running answer.
    pub fn ends_by_close(&self) -> bool {
        self.ends_by_close
    }

    /// Whether the connection ends in the middle of an answer.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether the client was too slow to send its request. A slow client gets little time to read its answer.
    pub fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Whether the client has ended its sending side and is still served.
    pub fn is_half_closed(&self) -> bool {
        self.is_half_closed
    }

    /// The millisecond, on the core's clock, at which the client had its whole answer although its request was not
    /// complete.
    pub fn answered_at(&self) -> Option<u64> {
        self.answered_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AROUND: Surroundings = Surroundings {
        requests: 10,
        is_ending: false,
        is_drained: true,
    };

    /// A connection whose first request is received with a head that wants it to go on.
    fn after_head(has_body: bool) -> Persistence {
        let mut persistence = Persistence::default();
        persistence.request_begins();
        persistence.head_received(true, has_body);
        persistence
    }

    #[test]
    fn a_connection_goes_on_if_nothing_forbids_it() {
        type Change = fn(&mut Persistence);
        let rows: [(&str, bool, Change, bool); 7] = [
            ("no body", false, |_| (), true),
            ("a body to come", true, |_| (), false),
            (
                "a part of the body",
                true,
                |it| it.body_received(false),
                false,
            ),
            ("the whole body", true, |it| it.body_received(true), true),
            (
                "close wanted",
                false,
                |it| it.head_received(false, false),
                false,
            ),
            ("an end from elsewhere", false, Persistence::ends, false),
            ("half closed", false, Persistence::half_closed, false),
        ];
        for (name, has_body, change, expected) in rows {
            let mut persistence = after_head(has_body);
            change(&mut persistence);
            assert_eq!(persistence.may_go_on(AROUND), expected, "{name}");
        }
    }

    #[test]
    fn bounds_and_ends_close_a_connection() {
        let last = Surroundings {
            requests: 1,
            ..AROUND
        };
        let ending = Surroundings {
            is_ending: true,
            ..AROUND
        };
        for around in [last, ending] {
            assert!(!after_head(false).may_go_on(around), "{around:?}");
        }
        // Requests that a half-closed client had sent before are still served.
        let mut half = after_head(false);
        half.half_closed();
        let more = Surroundings {
            is_drained: false,
            ..AROUND
        };
        assert!(half.may_go_on(more));
    }

    #[test]
    fn what_follows_is_what_the_answer_said() {
        let rows = [
            (true, false, false, Next::Request),
            (true, false, true, Next::Close),
            (false, false, false, Next::Close),
            (false, true, false, Next::Close),
        ];
        for (goes_on, by_close, is_cut, next) in rows {
            let mut persistence = after_head(false);
            persistence.answer_begins(goes_on, by_close);
            if is_cut {
                persistence.is_cut_off();
            }
            assert_eq!(persistence.next(), next, "{persistence:?}");
            assert_eq!(persistence.ends_by_close(), by_close);
        }
    }

    #[test]
    fn a_request_begins_without_what_held_for_the_last_one() {
        let mut persistence = after_head(true);
        persistence.answer_begins(true, false);
        persistence.request_begins();
        assert_eq!(persistence.requests(), 2);
        assert!(!persistence.is_body_pending() && !persistence.ends_by_close());
        assert_eq!(
            persistence.next(),
            Next::Close,
            "until its head says otherwise"
        );
        persistence.head_received(true, false);
        assert!(persistence.may_go_on(AROUND));
    }
}
