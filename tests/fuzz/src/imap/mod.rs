//! What holds of every IMAP conversation up to the login, whoever says what.

mod dialogue;
mod preamble;
mod second_opinion;
mod secrets;
mod story;
mod view;

pub use dialogue::dialogue;
pub use preamble::preamble;
