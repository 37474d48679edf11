# A QMP client that passes descriptors: `passer.py SOCKET < STEPS`. Each line of STEPS is [MESSAGE, [[PATH, MODE]...]]; MODE is r, w, rw, or
# socket. Prints each answer as a line; events are left out.
import array, json, os, socket, sys, time

MODES = {'r': os.O_RDONLY, 'w': os.O_WRONLY, 'rw': os.O_RDWR}
peers = []


def opened(path, mode):
    if mode != 'socket':
        return os.open(path, MODES[mode])
    ours, theirs = socket.socketpair()
    peers.append(ours)
    return theirs.detach()


def lines(monitor):
    text = b''
    while True:
        received = monitor.recv(65536)
        if not received:
            return
        text += received
        *whole, text = text.split(b'\n')
        for line in whole:
            yield json.loads(line)


monitor = socket.socket(socket.AF_UNIX)
monitor.connect(sys.argv[1])
answers = lines(monitor)
next(answers)
for line in sys.stdin:
    message, files = json.loads(line)
    descriptors = [opened(*one) for one in files]
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', descriptors))] if descriptors else []
    monitor.sendmsg([(json.dumps(message) + '\n').encode()], passed)
    for one in descriptors:
        os.close(one)
    for answer in answers:
        if 'event' not in answer:
            break
    print(json.dumps(answer), flush=True)
