"""The front door of a cluster: any number of gateways, none of which has anything of its own to lose."""
