//! The worker's user: an account of this host.

use nix::unistd::{Uid, User as Account};

use crate::config::User;

/// Whom a worker runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    /// The user.
    pub uid: u32,
    /// The user's primary group.
    pub gid: u32,
}

/// Why there can be no such worker.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such account.
    #[error(
        "user: this host has no account {0}; make one, as by \
         `useradd --system --shell /usr/sbin/nologin sealgate`, or name one that there is"
    )]
    Unknown(User),
    /// It would be no gain.
    #[error("user: {0} is root, or is in root's group; name an account without rights")]
    Root(User),
    /// The accounts cannot be read.
    #[error("user: cannot look up the account {0}: {1}")]
    Unreadable(User, nix::Error),
}

/// Looks up the account.
///
/// # Errors
/// There is none, or it is root's.
pub(super) fn find(user: &User) -> Result<Ids, AccountError> {
    let found = match user {
        User::Name(name) => Account::from_name(name),
        User::Id(uid) => Account::from_uid(Uid::from_raw(*uid)),
    };
    let account = found.map_err(|error| AccountError::Unreadable(user.clone(), error))?;
    let account = account.ok_or_else(|| AccountError::Unknown(user.clone()))?;
    if account.uid.is_root() || account.gid.as_raw() == 0 {
        return Err(AccountError::Root(user.clone()));
    }
    Ok(Ids { uid: account.uid.as_raw(), gid: account.gid.as_raw() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_its_primary_group_and_root_is_none() {
        let nobody = find(&User::Name("nobody".to_owned())).unwrap();
        assert_ne!((nobody.uid, nobody.gid), (0, 0));
        assert_eq!(find(&User::Id(nobody.uid)).unwrap(), nobody);
        let told = |user: User| find(&user).unwrap_err().to_string();
        assert!(told(User::Name("root".to_owned())).contains("is root"));
        assert!(told(User::Id(0)).contains("is root"));
        assert!(told(User::Name("no-such-account".to_owned())).contains("no account no-such-account"));
        assert!(told(User::Id(3_999_999_999)).contains("no account 3999999999"));
    }
}
