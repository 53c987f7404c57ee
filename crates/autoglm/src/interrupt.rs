//! Ctrl-C: the first one asks the work at hand to stop, the second one ends the program.

use std::sync::{Mutex, OnceLock, PoisonError};

use autoglm_spec::Cancel;

/// The work that Ctrl-C stops.
static CURRENT: Mutex<Option<Cancel>> = Mutex::new(None);
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// A flag that Ctrl-C raises from now on, in place of the one before.
pub fn cancel_on_interrupt() -> Cancel {
    let cancel = Cancel::default();
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel.clone());
    INSTALLED.get_or_init(|| ctrlc::set_handler(interrupted).is_ok());
    cancel
}

fn interrupted() {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    match current.as_ref() {
        Some(cancel) if !cancel.is_cancelled() => cancel.cancel(),
        _ => std::process::exit(crate::exit::INTERRUPTED),
    }
}
