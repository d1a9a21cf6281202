"""The same service on a Ray cluster: a camera lives whole on one worker, and goes on elsewhere when that dies.

Frames never leave a worker's machine, and nothing that a viewer gets goes through Ray: workers are asked by HTTP, as a
single machine is. Ray starts workers, tells which nodes there are, and carries leases, settings and snapshots.

    messages.py   what a worker and the controller tell each other
    placement.py  which worker gets a camera, and which camera had better move
    leases.py     which worker has which camera, until when, and who is ready for it
    cameras.py    what is known of each camera, whoever has it
    wanted.py     how many workers they ask for
    surplus.py    which nodes are more than that
    book.py       who holds which camera: leases, epochs, ids, snapshots; all decisions
    passing.py    which results a gateway passes on
    reload.py     what a config file that is read again does to its cameras
    meter.py      what a worker can do, by what it did
    host.py       a worker without Ray: the single machine's service, as it is ordered to be
    drain.py      a worker emptied from outside, and waited for

know nothing of Ray (the first ten not of asyncio either);

    worker.py  controller.py  storage.py  connection.py

are the edge, and `gateway/` is the front door.
"""
