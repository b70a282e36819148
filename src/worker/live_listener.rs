//! A listener on one core: how its clients are spoken to, and whether those that it let in may still stay.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use crate::snapshot::{Listener, Snapshot};

/// A listener as configured. Its connections hold on to the one that let them in.
pub struct LiveListener {
    settings: Listener,
    /// Whether the listener is gone, or demands something else of its clients by now. One flag for all that came one
    /// after the other and demand the same, such as when certificates were renewed.
    is_over: Rc<Cell<bool>>,
}

impl LiveListener {
    /// Whether connections that came by it are to end: with the next answer, or by themselves while they are idle.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }
}

impl Deref for LiveListener {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.settings
    }
}

/// The listeners of a snapshot, which come after these.
pub fn listeners_after(before: &[Rc<LiveListener>], snapshot: &Snapshot) -> Vec<Rc<LiveListener>> {
    let live = |settings: &Listener| {
        let known = before.iter().find(|known| known.addr == settings.addr);
        let same = known.filter(|known| known.demands_as_much_as(settings));
        Rc::new(LiveListener {
            settings: settings.clone(),
            is_over: same.map_or_else(Rc::default, |known| known.is_over.clone()),
        })
    };
    snapshot.listeners.iter().map(live).collect()
}

/// Ends those of `before` that have no successor in `after` that demands the same. Whether there is one.
pub fn end_changed(before: &[Rc<LiveListener>], after: &[Rc<LiveListener>]) -> bool {
    let goes_on = |known: &&Rc<LiveListener>| {
        let mut flags = after.iter().map(|listener| &listener.is_over);
        flags.any(|flag| Rc::ptr_eq(flag, &known.is_over))
    };
    let mut changed = before.iter().filter(|known| !goes_on(known)).peekable();
    let any = changed.peek().is_some();
    changed.for_each(|known| known.is_over.set(true));
    any
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::addresses::ListenAddr;
    use crate::snapshot::sample;

    fn snapshot(listeners: Vec<Listener>) -> Arc<Snapshot> {
        let mut snapshot = sample::snapshot(1, Vec::new());
        Arc::get_mut(&mut snapshot).unwrap().listeners = listeners;
        snapshot
    }

    fn listener(port: u16, redirect_to_https: bool) -> Listener {
        let mut listener = sample::listener(ListenAddr::Tcp(([127, 0, 0, 1], port).into()));
        listener.options.redirect_to_https = redirect_to_https;
        listener
    }

    #[test]
    fn who_demands_something_else_ends_what_came_before_however_long_ago() {
        let first = listeners_after(&[], &snapshot(vec![listener(1, false), listener(2, false)]));
        let second = listeners_after(
            &first,
            &snapshot(vec![listener(2, false), listener(1, false)]),
        );
        assert!(!end_changed(&first, &second), "the order is no demand");
        let third = listeners_after(
            &second,
            &snapshot(vec![listener(1, true), listener(2, false)]),
        );
        assert!(end_changed(&second, &third));
        let over = |listeners: &[Rc<LiveListener>]| -> Vec<bool> {
            listeners
                .iter()
                .map(|listener| listener.is_over())
                .collect()
        };
        assert_eq!(over(&first), [true, false]);
        assert_eq!(over(&second), [false, true]);
        assert_eq!(over(&third), [false, false]);
        let back = listeners_after(&third, &snapshot(vec![listener(1, false)]));
        assert!(end_changed(&third, &back));
        assert_eq!(over(&third), [true, true], "changed, and gone");
        assert_eq!(over(&back), [false]);
        assert_eq!(over(&first), [true, true]);
    }
}
