"""Writes the first mail of the inbox to standard output, read with imaplib."""

import argparse
import imaplib
import ssl
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--tls", choices=["starttls", "implicit"], required=True)
parser.add_argument("--ca", required=True)
parser.add_argument("--user", required=True)
parser.add_argument("--password", required=True)
options = parser.parse_args()

context = ssl.create_default_context(cafile=options.ca)
host = "127.0.0.1"
if options.tls == "implicit":
    client = imaplib.IMAP4_SSL(host, options.port, ssl_context=context, timeout=30)
else:
    client = imaplib.IMAP4(host, options.port, timeout=30)
    assert "LOGINDISABLED" in client.capabilities, client.capabilities
    client.starttls(ssl_context=context)
with client:
    assert "LOGINDISABLED" not in client.capabilities, client.capabilities
    client.login(options.user, options.password)
    status, answer = client.select(readonly=True)
    assert (status, answer) == ("OK", [b"1"]), (status, answer)
    status, answer = client.fetch("1", "(BODY.PEEK[])")
    assert status == "OK", answer
    sys.stdout.buffer.write(answer[0][1])
