# Makes a pair of sockets.
# checked: invalid_code
# bypassed: security_violation socketpair
import _socket
_socket.socketpair()
