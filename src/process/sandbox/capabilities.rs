//! Capabilities (capabilities(7)): none for the process that serves, few for its parent.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::Layer;

/// What a parent needs after the ports are bound: to start a worker as another user, to send it signals, to read keys and
/// open logs, whoever owns them.
const FOR_PARENT: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::KILL);

/// Drops all of them: effective, permitted, inheritable, ambient, and from the bounding set where that is allowed.
pub(super) fn drop_all() -> Layer {
    let bounding = empty_bounding_set();
    if let Err(error) = limit_to(CapabilitySet::empty()) {
        return Layer::Off(format!("they cannot be dropped: {error}"));
    }
    match bounding {
        Ok(()) => Layer::On("none".to_owned()),
        // Nothing that could be had from it: no_new_privs keeps programs from gaining any.
        Err(_) => Layer::On("none (bounding set kept)".to_owned()),
    }
}

/// What the parent of a worker keeps. The bounding set goes now: what the worker's user starts as has none then, not even
/// as a possibility.
pub(crate) fn keep_for_parent() -> std::io::Result<()> {
    // Without CAP_SETPCAP it stays; the worker's no_new_privs is the other bar.
    let _ = empty_bounding_set();
    rustix::thread::set_no_new_privs(true)?;
    Ok(limit_to(FOR_PARENT)?)
}

fn limit_to(kept: CapabilitySet) -> rustix::io::Result<()> {
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {} // before Linux 4.3 there is no such set
        Err(error) => return Err(error),
    }
    let permitted = capabilities(None)?.permitted & kept;
    set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() })
}

fn empty_bounding_set() -> rustix::io::Result<()> {
    for capability in known() {
        // One that this kernel does not know is not there.
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    Ok(())
}

/// Every capability alone.
fn known() -> impl Iterator<Item = CapabilitySet> {
    CapabilitySet::all().iter()
}

/// Whether the calling thread has none.
pub(super) fn are_gone() -> bool {
    let none = CapabilitySet::empty();
    capabilities(None).is_ok_and(|sets| sets.effective == none && sets.permitted == none && sets.inheritable == none)
}
