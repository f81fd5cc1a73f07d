//! The three kinds of byte stream the gate holds, behind one type each: a client, in cleartext or TLS, and a backend.
