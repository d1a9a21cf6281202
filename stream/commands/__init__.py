"""The subcommands of `syncvis-online`, one file each: its arguments, and what it does with them.

Their modules import only what the arguments need, so that --help is instant.
"""
