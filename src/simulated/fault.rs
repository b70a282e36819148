//! Faults that this program once had, to be planted again in a simulated run: proof that the simulated world sees them.
//! The code of each is at the place that it concerned, for tests only.

use std::cell::Cell;

/// A fault of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A request that wants a new connection to a backend at its bound goes round without a pause, while its own core
    /// keeps idle connections to the backend.
    SpinsAtBound,
    /// A request is sent again although a part of it was given away.
    ResendsPart,
    /// A request that is not idempotent is sent again after any failure.
    RepeatsAnything,
    /// A connection goes back to the idle ones, and is taken, whatever the settings are by now.
    KeepsOldSettings,
    /// The room for a forwarded head leaves out its target, and is all that there is.
    ForgetsTarget,
    /// A backend that refuses connections goes on getting requests.
    NeverRests,
    /// A freed connection is of use to requests of its own core only.
    SharesNothing,
    /// A stream does not learn that its connection is lost while it waits for a window.
    OutlivesConnection,
    /// A client that has sent bytes behind its request can leave unnoticed.
    LeavesUnnoticed,
    /// Bytes of a body that came last overtake those before them, behind a head that fills a block.
    Overtakes,
    /// A stream whose answer is complete waits for the rest of its request although its client has ended its side.
    AwaitsTheDead,
    /// An answer over HTTP/2 of whose body nothing was sent leaves room for another answer, although its head is gone.
    AnswersTwice,
    /// The number of the last purge is noted when an answer is stored, and not when its request is sent.
    NotesPurgeLate,
    /// The entries in front of the store are not checked against purges.
    ForgetsPurges,
    /// A request that comes after a purge waits for an answer that was asked for before.
    FollowsPurged,
    /// Any variant of a stored response answers any request.
    IgnoresVariant,
    /// A request that changes a resource does not end what is stored of it.
    KeepsChanged,
    /// An answer that was asked for before a change is stored after it.
    StoresInvalidated,
    /// A follower of an answer takes the part of a body that was cut for the whole.
    TakesPartForWhole,
    /// Stored responses are fresh for ever.
    NeverStale,
    /// A response that is for one client is stored for all.
    SharesPrivate,
    /// The bytes of one who has followed a fill are never given back.
    LosesMemory,
}

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Has this thread's runs have a fault, or none.
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this thread's runs have a fault.
pub fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}
