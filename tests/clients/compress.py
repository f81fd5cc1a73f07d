"""Logs in by IMAP over TLS, compresses the session (RFC 4978), appends the mail on standard input and prints it as read back."""

import argparse
import socket
import ssl
import sys
import zlib

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--ca", required=True)
parser.add_argument("--user", required=True)
parser.add_argument("--password", required=True)
options = parser.parse_args()

mail = sys.stdin.buffer.read()
plain = socket.create_connection(("127.0.0.1", options.port), timeout=30)
wire = ssl.create_default_context(cafile=options.ca).wrap_socket(plain, server_hostname="localhost")
inflate = deflate = None
held = b""


def send(octets):
    if deflate:
        octets = deflate.compress(octets) + deflate.flush(zlib.Z_SYNC_FLUSH)
    wire.sendall(octets)


def more():
    global held
    octets = wire.recv(65536)
    if not octets:
        sys.exit(f"the server ended the session; so far: {held[:200]}")
    held += inflate.decompress(octets) if inflate else octets


def take(count):
    global held
    while len(held) < count:
        more()
    taken, held = held[:count], held[count:]
    return taken


def line():
    while b"\r\n" not in held:
        more()
    return take(held.index(b"\r\n") + 2)


def answer(tag, wanted=b"OK"):
    while True:
        last = line()
        if last.startswith(tag):
            if not last.startswith(tag + b" " + wanted):
                sys.exit(last.decode())
            return


def command(tag, text):
    send(tag + b" " + text + b"\r\n")
    answer(tag)


line()
# Before the login, the session must not become unreadable.
send(b"z COMPRESS DEFLATE\r\n")
answer(b"z", b"BAD")
command(b"a", f'LOGIN {options.user} "{options.password}"'.encode())
command(b"b", b"COMPRESS DEFLATE")
deflate, inflate = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
send(b"c APPEND INBOX {%d}\r\n" % len(mail))
while not line().startswith(b"+"):
    pass
send(mail + b"\r\n")
answer(b"c")
command(b"d", b"SELECT INBOX")
send(b"e FETCH 1 BODY.PEEK[]\r\n")
head = line()
while b"{" not in head:
    head = line()
sys.stdout.buffer.write(take(int(head[head.index(b"{") + 1 : head.index(b"}")])))
answer(b"e")
send(b"f LOGOUT\r\n")
