//! The demo: its embedded servers spoken to by other people's clients, and the whole command.

mod command;
mod embedded;
