"""Sends the mail on standard input with smtplib, by DATA or, given --chunk, by BDAT (RFC 3030)."""

import argparse
import smtplib
import ssl
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--tls", choices=["off", "starttls", "implicit"], required=True)
parser.add_argument("--ca", required=True)
parser.add_argument("--chunk", type=int, default=0, help="octets a BDAT chunk; 0 sends by DATA")
parser.add_argument("--from", dest="sender", required=True)
parser.add_argument("--to", required=True)
parser.add_argument("--user")
parser.add_argument("--password")
options = parser.parse_args()

mail = sys.stdin.buffer.read()
context = ssl.create_default_context(cafile=options.ca)
host, name = "127.0.0.1", "client.example.org"
if options.tls == "implicit":
    client = smtplib.SMTP_SSL(host, options.port, local_hostname=name, timeout=30, context=context)
else:
    client = smtplib.SMTP(host, options.port, local_hostname=name, timeout=30)
with client:
    if options.tls == "starttls":
        client.starttls(context=context)
    client.ehlo()
    if options.user:
        client.login(options.user, options.password)
    if not options.chunk:
        client.sendmail(options.sender, [options.to], mail)
        sys.exit()

    def must(answer):
        code, text = answer
        if code // 100 != 2:
            sys.exit(f"{code} {text.decode()}")

    assert client.has_extn("chunking"), "CHUNKING is announced"
    must(client.mail(options.sender))
    must(client.rcpt(options.to))
    chunks = [mail[at : at + options.chunk] for at in range(0, len(mail), options.chunk)] or [b""]
    for n, chunk in enumerate(chunks):
        last = " LAST" if n == len(chunks) - 1 else ""
        client.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
        must(client.getreply())
