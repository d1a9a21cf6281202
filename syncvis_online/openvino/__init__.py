"""The network in OpenVINO, on processors: converted once for each size of pictures, by a process of its own."""
