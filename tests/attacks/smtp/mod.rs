//! SMTP in memory: the gate's dialogue between a client that lies and servers that believe too much. What is shown here for
//! every cut, `smuggling` and `commands` show for the real Postfix by sample.

pub mod lenient;
pub mod lookalikes;
pub mod talk;

mod bodies;
mod commands;
mod order;
