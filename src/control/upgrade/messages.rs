//! The words that the old process and the new one exchange. The words never change, because another version of the
//! program may be at the other end.

use crate::messages::LeftToDo;

/// The new process asks for the messages besides the sockets.
pub const MORE: &str = "more";
/// The new process has started everything. A process of an earlier version does not say when it accepts.
pub const READY: &str = "ready";
/// The new process has started everything, and will say when it accepts.
pub const READY_AND_TELLS: &str = "ready, and will say when it accepts";
/// The old process lets the new one accept.
pub const GO: &str = "go";
/// The new process accepts.
pub const ACCEPTING: &str = "accepting";
/// Asks a new process that has said [`ACCEPTING`] for [`HERE`], since the new process may have died meanwhile.
pub const STILL_THERE: &str = "still there?";
/// The answer to [`STILL_THERE`].
pub const HERE: &str = "here";
/// Said instead of [`HERE`] by a new process that is stopping itself, or accepts no more. It is the reason in the old
/// one's log.
pub const STOPPING: &str = "the new process is stopping";
/// Ends a new process that hears this before it is let go. It may do so when the old one is gone.
pub const GIVEN_UP: &str = "given up";
/// The first word of a message that has a word more for each thing that is left to do.
const OVER: &str = "over";

const RELOAD: &str = "reload";
const REOPEN: &str = "reopen";
const UPGRADE: &str = "upgrade";

/// The message that the new process is the service now, with the things that are left to do.
pub fn over(left: LeftToDo) -> String {
    let LeftToDo {
        reload,
        reopen,
        upgrade,
    } = left;
    let options = [(reload, RELOAD), (reopen, REOPEN), (upgrade, UPGRADE)];
    let options = options.into_iter().filter(|(is_left, _)| *is_left);
    let words = [OVER].into_iter().chain(options.map(|(_, word)| word));
    words.collect::<Vec<_>>().join(" ")
}

/// The things that are left to do by such a message; unknown words are ignored.
pub fn left(message: &str) -> LeftToDo {
    let has = |operation: &str| message.split(' ').any(|word| word == operation);
    LeftToDo {
        reload: has(RELOAD),
        reopen: has(REOPEN),
        upgrade: has(UPGRADE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_do_is_understood() {
        for bits in 0..8 {
            let said = LeftToDo {
                reload: bits & 1 != 0,
                reopen: bits & 2 != 0,
                upgrade: bits & 4 != 0,
            };
            assert_eq!(left(&over(said)), said);
        }
        assert_eq!(over(LeftToDo::default()), "over");
        let of_later_version = left("over something reload");
        assert!(of_later_version.reload && !of_later_version.reopen);
    }
}
