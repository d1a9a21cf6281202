"""A day of a service in an hour: who comes has gone again at the end of each round, and nothing of them stays.

`day` says what happens in one, `stage` runs the real server and its cameras, `rounds` lets it happen, `guests` are the
clients, a process of their own; `census` counts what the server holds, and `verdict` says whether that grew. Nothing
in here is a part of the server: all that is known of it comes from HTTP and from /proc.
"""
