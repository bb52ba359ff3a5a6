# Dials the host.
# checked: invalid_code
# bypassed: security_violation socket
import _socket
_socket.socket().connect(('127.0.0.1', 22))
