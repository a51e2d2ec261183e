"""A program that leaves behind what the runner could know it by: its group, its terminal and its environment.

    daemon.py FILE [-s PORT | -c NAME IP PORT PORT]

Something that it has begun holds its port; its number is in the file.
"""

import os
import socket
import sys
import time

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", int(sys.argv[-1])))
sock.set_inheritable(True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open(sys.argv[1], "w") as file:
            file.write(f"{os.getpid()} {sys.argv[-1]}")
        os.closerange(0, 3)
        os.execve("/bin/sleep", ["sleep", "1000"], {})
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]) or not os.path.getsize(sys.argv[1]):
    time.sleep(0.01)
print("it has begun", flush=True)
time.sleep(1000)
