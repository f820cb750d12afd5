#: tcp_to_the_host held
import socket
for host in ("127.0.0.1", "localhost", "0.0.0.0", "10.0.0.1", "172.17.0.1", "192.168.0.1"):
    refused("the host's port", lambda: socket.create_connection((host, PORT), 1))
#: tcp_over_the_newer_protocol held
import socket
for host in ("::1", "fe80::1", "::ffff:127.0.0.1"):
    refused("the host's port", lambda: socket.create_connection((host, PORT), 1))
#: metadata_service held
import socket
for host in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "metadata.google.internal"):
    refused("metadata", lambda: socket.create_connection((host, 80), 1))
refused("metadata", lambda: socket.create_connection(("fd00:ec2::254", 80), 1))
#: names_carry_nothing_out held
import socket
refused("a name", lambda: socket.getaddrinfo("secret.example.com", 80))
def ask():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1)
        sender.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\6secret\3com\0\0\1\0\1", ("8.8.8.8", 53))
        return sender.recv(512)
refused("a datagram", ask)
#: abstract_sockets_of_the_host held
import socket
def connect():
    stream = socket.socket(socket.AF_UNIX)
    stream.connect("\0" + ABSTRACT)
    stream.send(b"x")
refused("an abstract socket", connect)
#: socket_files_of_the_host held
import socket
def connect(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
for path in (SOCKET, "/var/run/docker.sock", "/run/dbus/system_bus_socket"):
    refused("a socket file", connect, path)
#: raw_sockets held
import socket
refused("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
refused("ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).sendto(
    b"\x08\0\xf7\xff\0\0\0\0", ("127.0.0.1", 0)))
#: sockets_of_the_kernel held contained
import socket
for family, kind in ((16, 3), (17, 3), (40, 1), (38, 5), (15, 3), (31, 3), (29, 3), (21, 5)):
    refused("family " + str(family), lambda: socket.socket(family, kind, 0))
#: sockets_of_virtual_machines held
import socket
def connect():
    stream = socket.socket(40, socket.SOCK_STREAM)
    stream.settimeout(1)
    stream.connect((2, PORT))
refused("the host's vsock", connect)
