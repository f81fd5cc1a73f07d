//! One Postfix and one Dovecot for all tests of this binary, and users that each have their mailbox to themselves.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::dovecot::{self, Dovecot};
use super::logs::Shown;
use super::postfix::Postfix;
use super::wait::until;
use super::warden;

/// Where the users live. Not one of the domains that the relay self-test asks about.
pub const DOMAIN: &str = "example.net";
/// Everybody's password.
pub const PASSWORD: &str = "correct horse";

/// The servers.
pub struct Stack {
    /// Postfix.
    pub postfix: Postfix,
    /// Dovecot, with the PROXY protocol.
    pub dovecot: Dovecot,
    /// Their names.
    pub users: Vec<String>,
    /// Where the users' Maildirs are.
    pub mail: PathBuf,
}

static STACK: LazyLock<Stack> = LazyLock::new(|| {
    let users: Vec<String> = (0..400).map(|n| format!("u{n:03}")).collect();
    let mail = warden::directory("mail");
    std::os::unix::fs::chown(&mail, Some(65534), Some(65534)).expect("tests of the real servers run as root");
    let dovecot = Dovecot::start(dovecot::PROXY, &users, PASSWORD, &mail);
    let postfix = Postfix::start(DOMAIN, &users, &mail, &dovecot.sasl_socket);
    Stack { postfix, dovecot, users, mail }
});

/// The servers, and their logs shown if the test that holds the guard fails.
pub fn stack() -> (&'static Stack, Shown) {
    let stack = &*STACK;
    (stack, Shown::on_failure([stack.postfix.log.clone(), stack.dovecot.log.clone()]))
}

/// A second Dovecot over the same mailboxes, which takes client identity by IMAP's ID.
pub fn dovecot_with_imap_id() -> &'static Dovecot {
    static DOVECOT: LazyLock<Dovecot> =
        LazyLock::new(|| Dovecot::start(dovecot::IMAP_ID, &STACK.users, PASSWORD, &STACK.mail));
    &DOVECOT
}

/// A user whom no other test knows.
pub struct User {
    /// For logins.
    pub name: String,
    /// For mail.
    pub address: String,
    maildir: PathBuf,
}

impl Stack {
    /// The next user.
    pub fn user(&self) -> User {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = self.users.get(NEXT.fetch_add(1, Ordering::Relaxed)).expect("a user is left").clone();
        User { address: format!("{name}@{DOMAIN}"), maildir: self.mail.join(&name).join("Maildir"), name }
    }
}

impl User {
    /// Waits until exactly `count` mails are there and gives them as the Maildir has them, oldest first.
    pub fn mails(&self, count: usize) -> Vec<Vec<u8>> {
        until(&format!("{count} mails for {}", self.name), || {
            let files = self.files();
            (files.len() >= count).then_some(files)
        });
        let files = self.files();
        assert_eq!(files.len(), count, "mails for {}", self.name);
        files.iter().map(|path| std::fs::read(path).expect("a mail")).collect()
    }

    /// Waits for the one mail.
    pub fn mail(&self) -> Vec<u8> {
        self.mails(1).remove(0)
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.files().len()
    }

    fn files(&self) -> Vec<PathBuf> {
        let list = |name: &str| {
            let entries = std::fs::read_dir(Path::new(&self.maildir).join(name)).into_iter().flatten();
            entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
        };
        let mut files = [list("new"), list("cur")].concat();
        files.sort_by_key(|path| std::fs::metadata(path).and_then(|data| data.modified()).ok());
        files
    }
}
