# Makes a socket object of its channel, to take descriptors from it.
# checked: invalid_code
# bypassed: security_violation getsockname
import _socket
channel = _socket.socket(fileno=0, family=_socket.AF_UNIX, type=_socket.SOCK_STREAM, proto=0)
channel.recvmsg(1, 100)
