//! Panics of the proxy's code in a run: the proxy contains them, the simulated world must see them.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has panics of threads that simulate noted instead of printed.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if crate::simulated::kernel().is_none() {
                return before(panic);
            }
            PANIC.with_borrow_mut(|noted| {
                noted.get_or_insert_with(|| panic.to_string());
            });
        }));
    });
    PANIC.take();
}

/// Whether there was one since [`watch`].
pub fn is_any() -> bool {
    PANIC.with_borrow(Option::is_some)
}

/// The first one since [`watch`].
pub fn take() -> Option<String> {
    PANIC.take()
}
