//! Landlock: which files, which TCP ports, and whom else of this host the process may reach.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Layer, Needs};

/// Everything about files that Landlock knows: what is not granted below is refused.
const FILES: ABI = ABI::V5;

/// Restricts the calling thread, as far as the kernel can.
pub(super) fn restrict(needs: &Needs) -> Layer {
    match try_to(needs) {
        Ok(status) => describe(&status),
        Err(error) => Layer::Off(format!("the kernel refuses the rules: {error}")),
    }
}

fn try_to(needs: &Needs) -> Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let append = AccessFs::WriteFile | AccessFs::MakeReg;
    let mut scope = BitFlags::from(Scope::Signal);
    if !needs.abstract_sockets {
        scope |= Scope::AbstractUnixSocket;
    }
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(FILES))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(scope)?
        .create()?
        // What is not there cannot be read either: those paths are left out.
        .add_rules(path_beneath_rules(&needs.read, read))?
        .add_rules(path_beneath_rules(&needs.append, append))?;
    for port in &needs.connect {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    rules.restrict_self()
}

fn describe(status: &RestrictionStatus) -> Layer {
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
        LandlockStatus::NotEnabled => return Layer::Off("it is not enabled; boot with lsm=landlock,…".to_owned()),
        _ => return Layer::Off("this kernel does not have it (Linux 5.13)".to_owned()),
    };
    let on = format!("abi {abi}");
    match status.ruleset {
        RulesetStatus::FullyEnforced => Layer::On(on),
        RulesetStatus::PartiallyEnforced => Layer::Partly { on, missing: missing(abi).to_owned() },
        RulesetStatus::NotEnforced => Layer::Off("the kernel enforces nothing of it".to_owned()),
    }
}

/// What the newest kernels have and this one does not.
fn missing(abi: i32) -> &'static str {
    match abi {
        ..4 => "TCP connections are not restricted (Linux 6.7), nor who else is reached (Linux 6.12)",
        _ => "signals and abstract sockets are not restricted (Linux 6.12)",
    }
}

/// Whether TCP connections are restricted.
pub(super) fn restricts_tcp(layer: &Layer) -> bool {
    let abi = layer.word().strip_prefix("abi ").and_then(|abi| abi.parse::<i32>().ok());
    abi.is_some_and(|abi| abi >= 4)
}
